"""Networks on a loaded model, for as long as a context is open: afterwards every weight is what it was, bit for bit.

On a CPU the changed weight takes the original's place and the original, which may be a part of a mapped file, is not
touched. On a GPU the change is written over the original, which waits in the CPU's memory: no more of the GPU's is
needed. Either way a weight is worked out anew from its original in float32, so that changing a strength in the middle
of a picture leaves no rounding behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from webui.checkpoints.load import LoadedModel
from webui.networks.load import model_parts
from webui.networks.names import Place
from webui.networks.steps import Step, Use, steps_by_place, work_out
from webui.schema.errors import ModelError


@dataclass(frozen=True)
class Effect:
    """What a use came to. asked: layers that it was to change, at a strength other than 0; changed: layers whose
    weights it did change."""

    name: str
    asked: int
    changed: int


def check_effects(uses: Sequence[Use], effects: Sequence[Effect]) -> None:
    """Let networks pass that change something, and those that are wanted at the weight 0.

    Raises:
        ModelError: one is wanted and changes nothing; why.
    """
    for use, effect in zip(uses, effects, strict=True):
        if effect.changed or not (use.te or use.unet):
            continue
        if effect.asked:
            raise ModelError(f'"{effect.name}" changes nothing: its weights are zeros.', "Get another version of it.")
        has = "U-Net" if use.te else "text encoder"
        raise ModelError(
            f'"{effect.name}" changes nothing: it has layers of the {has} alone, where its weight is 0.',
            "Give it another weight there, or take it out of the prompt.",
        )


@contextmanager
def applied(model: LoadedModel, uses: Sequence[Use], over: bool | None = None) -> Iterator[AppliedNetworks]:
    """The model with the networks' changes, summed in their order; restored at the end, whatever happens.

    over: whether changes are written over the originals; by default those of weights that are not on the CPU.

    Raises:
        ModelError: a layer's shapes do not fit the model, or its numbers are not finite.
    """
    networks = AppliedNetworks(model, over)
    try:
        networks.set(uses)
        yield networks
    finally:
        networks.restore()


class AppliedNetworks:
    """The changes that stand on a model now, and the originals of what they changed. over: as of `applied`."""

    def __init__(self, model: LoadedModel, over: bool | None = None) -> None:
        self._parts = model_parts(model)
        self._over = over
        self._originals: dict[tuple[str, str], _Original] = {}
        self._now: dict[Place, _Standing] = {}
        self.effects: tuple[Effect, ...] = ()

    def set(self, uses: Sequence[Use]) -> None:
        """Let these networks stand on the model, whatever stood on it before. Layers whose changes and strengths are
        the same as before are not worked out again.

        Raises:
            ModelError: as `applied`. What stands then is a part of what was asked for, until `restore`.
        """
        wanted = steps_by_place(uses)
        with torch.inference_mode(False), torch.no_grad():
            for place in [place for place in self._now if place not in wanted]:
                del self._now[place]
                for name in self._tensors(place):
                    self._put_back(place.part, name)
            for place, steps in wanted.items():
                standing = self._now.get(place)
                if standing is None or standing.steps != steps:
                    self._now[place] = _Standing(steps, self._change(place, steps))
        self.effects = self._effects(uses)

    def restore(self) -> None:
        """Put every original back."""
        with torch.inference_mode(False), torch.no_grad():
            for (part, name), original in self._originals.items():
                _put_back(self._parameter(part, name), original)
        self._originals.clear()
        self._now.clear()

    def _change(self, place: Place, steps: Sequence[Step]) -> tuple[bool, ...]:
        """Work the steps out on the originals of a place, one after the other; whether each changed something."""
        originals = {name: self._original(place.part, name) for name in self._tensors(place)}
        now = dict(originals)
        did = tuple(work_out(step, now) for step in steps)
        for name, tensor in now.items():
            if tensor is originals[name]:
                self._put_back(place.part, name)
            else:
                self._put(place.part, name, tensor)
        return did

    def _put_back(self, part: str, name: str) -> None:
        """Put an original back, where it was changed."""
        original = self._originals.pop((part, name), None)
        if original is not None:
            _put_back(self._parameter(part, name), original)

    def _put(self, part: str, name: str, value: Tensor) -> None:
        """value: float32, in the parameter's shape; rounded once to its dtype."""
        parameter = self._parameter(part, name)
        if (part, name) not in self._originals:
            over = parameter.device.type != "cpu" if self._over is None else self._over
            kept = parameter.data.to("cpu", copy=True) if over else parameter.data
            self._originals[part, name] = _Original(kept, over)
        with torch.inference_mode(parameter.is_inference()):
            if self._originals[part, name].over:
                parameter.data.copy_(value)
            else:
                parameter.data = torch.empty_like(parameter.data).copy_(value)  # of the same strides

    def _tensors(self, place: Place) -> list[str]:
        """Names of the weights and biases of a place."""
        parameters = {module: self._parts[place.part].get_submodule(module) for module in place.modules}
        return [
            f"{module}.{name}"
            for module, layer in parameters.items()
            for name in ("weight", "bias")
            if getattr(layer, name, None) is not None
        ]

    def _effects(self, uses: Sequence[Use]) -> tuple[Effect, ...]:
        asked = Counter(step.use for standing in self._now.values() for step in standing.steps)
        changed = Counter(
            step.use
            for standing in self._now.values()
            for step, did in zip(standing.steps, standing.did, strict=True)
            if did
        )
        return tuple(Effect(use.network.name, asked[index], changed[index]) for index, use in enumerate(uses))

    def _parameter(self, part: str, name: str) -> nn.Parameter:
        return self._parts[part].get_parameter(name)

    def _original(self, part: str, name: str) -> Tensor:
        """A weight as it is without networks, as float32 on its device."""
        parameter = self._parameter(part, name)
        kept = self._originals.get((part, name))
        original = parameter.data if kept is None else kept.tensor
        return original.to(parameter.device, torch.float32)


@dataclass(frozen=True)
class _Original:
    """A weight before any change. over: whether the change is written over it, so that this is a copy."""

    tensor: Tensor
    over: bool


@dataclass(frozen=True)
class _Standing:
    """What stands at a place: its steps, and whether each changed something."""

    steps: tuple[Step, ...]
    did: tuple[bool, ...] = field(compare=False)


def _put_back(parameter: nn.Parameter, original: _Original) -> None:
    with torch.inference_mode(parameter.is_inference()):
        if original.over or parameter.device != original.tensor.device:  # another one when the model was moved
            parameter.data.copy_(original.tensor)
        else:
            parameter.data = original.tensor
