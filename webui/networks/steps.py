"""What several networks do at one place of a model: their changes one after the other, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.networks.load import Network, PlacedChange
from webui.networks.names import UNET, Modules, Place
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import ModelError


@dataclass(frozen=True)
class Use:
    """A network at two strengths, of the text encoders and of the U-Net."""

    network: Network
    te: float = 1.0
    unet: float = 1.0

    def strength(self, part: str) -> float:
        return self.unet if part == UNET else self.te


@dataclass(frozen=True)
class Step:
    """One change at a place. use: the number of its network among the uses."""

    use: int
    placed: PlacedChange
    strength: float


def steps_by_place(uses: Sequence[Use]) -> dict[Place, tuple[Step, ...]]:
    """The steps of each place, in the networks' order. Where one network has query, key and value as one layer, all
    networks' steps on them go to that place."""
    steps = [
        Step(index, placed, use.strength(placed.place.part))
        for index, use in enumerate(uses)
        for placed in use.network.changes
    ]
    steps = [step for step in steps if step.strength]
    joined = {
        (step.placed.place.part, module): step.placed.place
        for step in steps
        if len(step.placed.place.modules) > 1
        for module in step.placed.place.modules
    }
    found: dict[Place, tuple[Step, ...]] = {}
    for step in steps:
        own = step.placed.place
        place = joined.get((own.part, own.modules[0]), own)
        found[place] = (*found.get(place, ()), step)
    return found


def work_out(step: Step, now: dict[str, Tensor]) -> bool:
    """Put one step's change onto the float32 weights of a place, by name; whether it made a difference."""
    modules = step.placed.place.modules
    weight, bias = _joined(now, modules, "weight"), _joined(now, modules, "bias")
    assert weight is not None
    did = False
    for name, tensor, added in zip(("weight", "bias"), (weight, bias), _differences(step, weight, bias), strict=True):
        if tensor is not None and added is not None:
            changed = torch.add(tensor, added, alpha=step.strength, out=added)
            did = did or not torch.equal(changed, tensor)
            now.update(zip((f"{module}.{name}" for module in modules), changed.chunk(len(modules)), strict=True))
    return did


def _differences(step: Step, weight: Tensor, bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    try:
        found = step.placed.change.differences(weight, bias)
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        if is_out_of_memory(error):
            raise
        shape = list(weight.shape)
        raise ModelError(
            f"The network's layer {step.placed.layer} does not fit the model's, which is {shape}: {error}.",
            "Is it made for this kind of checkpoint? Take it out of the prompt.",
        ) from error
    if not all(added is None or bool(added.sum().isfinite()) for added in found):
        raise ModelError(
            f"The network's layer {step.placed.layer} gives NaN or infinite weights: the file is damaged.",
            "Download it again, or take it out of the prompt.",
        )
    return found


def _joined(now: Mapping[str, Tensor], modules: Modules, name: str) -> Tensor | None:
    """The tensors of these modules in a row, (out of all, ...); None where they have none of this name."""
    tensors = [now[key] for module in modules if (key := f"{module}.{name}") in now]
    if len(tensors) < len(modules):
        return None
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
