"""What the tags of a prompt ask for, as networks of one loaded model with their strengths at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from webui.checkpoints.load import LoadedModel
from webui.networks.catalogue import NetworkCatalogue, NetworkFile
from webui.networks.load import Network, open_network
from webui.networks.steps import Use
from webui.networks.strengths import Strengths
from webui.networks.tags import check_tags
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork


@dataclass(frozen=True)
class Wanted:
    """One tag: its file, the file as it fits the model, and its strengths."""

    tag: ExtraNetwork
    file: NetworkFile
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


@dataclass(frozen=True)
class WantedNetworks:
    """The networks of all tags of a prompt, in their order."""

    wanted: tuple[Wanted, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether a strength in the U-Net changes over the steps."""
        return any(one.strengths.unet.changes for one in self.wanted)

    @property
    def said(self) -> tuple[str, ...]:
        return tuple(line for one in self.wanted for line in one.said)

    def uses(self, step: int, clock: Clock, first: Clock | None = None) -> tuple[Use, ...]:
        """What `apply` is to put on the model at a step of a pass; `first` as of `Wanted.use`."""
        return tuple(one.use(step, clock, first) for one in self.wanted)


def wanted_networks(tags: Sequence[ExtraNetwork], catalogue: NetworkCatalogue, model: LoadedModel) -> WantedNetworks:
    """The networks of tags of `KINDS`, opened for a model; a file that several tags name is opened once.

    Raises:
        BadRequest, NotFound, ModelError: as `check_tags` and `open_network`.
    """
    opened: dict[str, Network] = {}
    found = []
    for tag, (file, strengths) in zip(tags, check_tags(tags, catalogue), strict=True):
        if str(file.path) not in opened:
            opened[str(file.path)] = open_network(file.path, tag.name, model)
        found.append(Wanted(tag, file, opened[str(file.path)], strengths))
    return WantedNetworks(tuple(found))
