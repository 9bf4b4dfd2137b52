"""What the tags of a prompt ask for, as networks of one loaded model with their strengths at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from webui.checkpoints.load import LoadedModel
from webui.networks.acted import ActedFile
from webui.networks.hypernetworks import HypernetworkFile
from webui.networks.hypertaps import Hypernetwork, Tap, input_taps, load_hypernetwork
from webui.networks.load import Network, open_network
from webui.networks.opened import OpenedFiles
from webui.networks.steps import Use
from webui.networks.strengths import Strengths
from webui.networks.tags import Catalogues, check_tags
from webui.nn.unet import UNet
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork


@dataclass(frozen=True)
class Wanted:
    """One tag: its file as it fits the model, and its strengths."""

    tag: ExtraNetwork
    path: Path
    network: Network = field(repr=False)
    strengths: Strengths

    @property
    def said(self) -> tuple[str, ...]:
        """Lines for the user: what the file is, keys matched of keys in it, what of the tag has no meaning."""
        return (self.network.said, *self.strengths.notes)

    def use(self, step: int, clock: Clock, first: Clock | None = None) -> Use:
        """The network at a step of a pass. The text encoders' strength is that of the first step of the first pass,
        whose clock is `first` (this pass's own where it is not given)."""
        return Use(self.network, self.strengths.te.at(0, first or clock), self.strengths.unet.at(step, clock))

    def acts(self, clock: Clock, first: Clock) -> bool:
        """Whether it has any strength in a pass."""
        unet = (self.strengths.unet.at(step, clock) for step in range(clock.steps))
        return self.strengths.te.at(0, first) != 0 or any(unet)


@dataclass(frozen=True)
class WantedHypernetwork:
    """One tag of a hypernetwork. It acts in the U-Net alone."""

    tag: ExtraNetwork
    path: Path
    network: Hypernetwork = field(repr=False)
    strengths: Strengths


@dataclass(frozen=True)
class WantedNetworks:
    """What all tags of a prompt ask for, in their order."""

    networks: tuple[Wanted, ...] = ()
    hypernetworks: tuple[WantedHypernetwork, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether a network's strength in the U-Net changes over the steps, so that its weights must change too."""
        return any(one.strengths.unet.changes for one in self.networks)

    @property
    def said(self) -> tuple[str, ...]:
        """Lines for the user."""
        notes = (note for one in self.hypernetworks for note in one.strengths.notes)
        return (*(line for one in self.networks for line in one.said), *notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the lines that a user should see: keys that found no place, words of tags without a meaning."""
        partly = (one.network.said for one in self.networks if one.network.unmatched)
        strengths = (*(one.strengths for one in self.networks), *(one.strengths for one in self.hypernetworks))
        return (*partly, *(note for one in strengths for note in one.notes))

    def acted(self, clock: Clock, first: Clock) -> tuple[ActedFile, ...]:
        """The files that a picture's text names: those of networks that have any strength in a pass."""
        acting = (one for one in self.networks if one.acts(clock, first))
        return tuple(ActedFile("lora", one.tag.name, one.path) for one in acting)

    def uses(self, step: int, clock: Clock, first: Clock | None = None) -> tuple[Use, ...]:
        """What `apply` is to put on the model at a step of a pass; `first` as of `Wanted.use`."""
        return tuple(one.use(step, clock, first) for one in self.networks)

    def taps(self, step: int, clock: Clock, unet: UNet) -> dict[str, Tap]:
        """`Taps.inputs` of the hypernetworks at a step of a pass. Raises ModelError as `input_taps`."""
        return input_taps([(one.network, one.strengths.unet.at(step, clock)) for one in self.hypernetworks], unet)


def wanted_networks(
    tags: Sequence[ExtraNetwork],
    catalogues: Catalogues,
    model: LoadedModel,
    opened: OpenedFiles | None = None,
    device: torch.device | None = None,
) -> WantedNetworks:
    """What the tags ask for, opened for a model; a file that several tags name is opened once.

    opened: the files of this model that need not be read again. device: where the U-Net works; None: where it is.

    Raises:
        BadRequest, NotFound, ModelError: as `check_tags`, `open_network` and `load_hypernetwork`.
    """
    files = OpenedFiles() if opened is None else opened
    wanted: list[Wanted] = []
    hyper: list[WantedHypernetwork] = []
    for checked in check_tags(tags, catalogues, model.config.family):
        tag, file, strengths = checked.tag, checked.file, checked.strengths
        if isinstance(file, HypernetworkFile):
            hypernetwork = files.get(file.path, tag.name, partial(_hypernetwork, file, model, device))
            hyper.append(WantedHypernetwork(tag, file.path, hypernetwork, strengths))
        else:
            network = files.get(file.path, tag.name, partial(open_network, file.path, tag.name, model))
            wanted.append(Wanted(tag, file.path, network, strengths))
    return WantedNetworks(tuple(wanted), tuple(hyper))


def _hypernetwork(file: HypernetworkFile, model: LoadedModel, device: torch.device | None) -> Hypernetwork:
    weight = next(model.unet.parameters())
    return load_hypernetwork(file, model.config.family, device or weight.device, weight.dtype)
