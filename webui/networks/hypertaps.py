"""Hypernetworks on a U-Net, as taps of one forward pass: nothing is attached to the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from safetensors import safe_open
from torch import Tensor

from webui.networks.family import check_family
from webui.networks.hypernetworks import HypernetworkFile
from webui.nn.hypernetwork import ACTIVATIONS, Branch, Stage, chained
from webui.nn.unet import UNet
from webui.schema.errors import ModelError

Tap = Callable[[Tensor], Tensor]
SIDES = {"k": "to_k", "v": "to_v"}


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """A file's branches, by (width, "k" or "v"), where the U-Net is."""

    name: str
    branches: Mapping[tuple[int, str], Branch] = field(repr=False)


def load_hypernetwork(file: HypernetworkFile, family: str, device: torch.device, dtype: torch.dtype) -> Hypernetwork:
    """The hypernetwork for a model of a family.

    Raises:
        ModelError: the file cannot be used, is for another family, or has an activation that is not known.
    """
    info = file.info
    if info is None:
        raise ModelError(file.error)
    check_family(file.name, "hypernetwork", info.family, family)
    if info.activation and info.activation not in ACTIVATIONS:
        raise ModelError(
            f'The hypernetwork "{file.name}" has the activation {info.activation!r}, which is not known here.',
            f"Known are: {', '.join(ACTIVATIONS)}.",
        )
    branches = {}
    with safe_open(file.path, framework="pt", device="cpu") as opened:
        for place, names in info.branches.items():
            last = len(names) - 1
            stages = tuple(
                Stage(
                    opened.get_tensor(weight),
                    opened.get_tensor(bias) if bias else None,
                    info.activation if index < last or info.activate_last else "",
                    (opened.get_tensor(f"{norm}.weight"), opened.get_tensor(f"{norm}.bias")) if norm else None,
                )
                for index, (weight, bias, norm) in enumerate(names)
            )
            branches[place] = Branch(stages).to(device, dtype)
    return Hypernetwork(file.name, branches)


def input_taps(uses: Sequence[tuple[Hypernetwork, float]], unet: UNet) -> dict[str, Tap]:
    """`Taps.inputs` for hypernetworks at their strengths, one behind the other; those at 0 are left out.

    Raises:
        ModelError: one of them has no branch for any width that this U-Net's attentions read.
    """
    wanted = [(network, strength) for network, strength in uses if strength]
    taps: dict[str, Tap] = {}
    acted: set[int] = set()
    for attention in unet.tap_names.attentions:
        width = unet.get_parameter(f"{attention}.to_k.weight").shape[1]
        for side, projection in SIDES.items():
            here = [(network, strength) for network, strength in wanted if (width, side) in network.branches]
            acted |= {id(network) for network, _strength in here}
            if here:
                branches = tuple((network.branches[width, side], strength) for network, strength in here)
                taps[f"{attention}.{projection}"] = chained(branches)
    for network, _strength in wanted:
        if id(network) not in acted:
            raise ModelError(
                f'The hypernetwork "{network.name}" has no branch for this model.', "Is it made for this kind of model?"
            )
    return taps
