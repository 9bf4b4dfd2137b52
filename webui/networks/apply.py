"""Networks on a loaded model: when they are taken off every weight is what it was, bit for bit.

The changed weight takes the original's place and the original, which may be a part of a mapped file, is not touched:
putting networks on that were worked out before, and taking them off, exchanges pointers. A weight is worked out anew
from its original in float32 and rounded once, so that changing a strength in the middle of a picture leaves no rounding
behind. Weights that are stored in 8 bits are rounded by chance, the same each time (`dithered`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from webui.checkpoints.load import LoadedModel
from webui.networks.effects import Effect
from webui.networks.kept import KeptWeights, WorkedOut
from webui.networks.load import model_parts
from webui.networks.names import Place
from webui.networks.steps import Step, Use, steps_by_place, work_out
from webui.nn.storage import FLOAT8, dithered


@contextmanager
def applied(model: LoadedModel, uses: Sequence[Use]) -> Iterator[AppliedNetworks]:
    """The model with the networks' changes, summed in their order; restored at the end, whatever happens.

    Raises:
        ModelError: a layer's shapes do not fit the model, or its numbers are not finite.
    """
    networks = AppliedNetworks(model)
    try:
        networks.set(uses)
        yield networks
    finally:
        networks.restore()


class AppliedNetworks:
    """The changes that stand on a model now, and the originals of what they changed. kept: where worked out weights
    wait for the next time; device: where they are worked out, None: where the weights are."""

    def __init__(self, model: LoadedModel, kept: KeptWeights | None = None, device: torch.device | None = None) -> None:
        self._parts = model_parts(model)
        self._device = device
        self._kept = KeptWeights(0) if kept is None else kept
        self._originals: dict[tuple[str, str], Tensor] = {}
        self._now: dict[Place, _Standing] = {}
        self.effects: tuple[Effect, ...] = ()

    @property
    def stand(self) -> bool:
        """Whether any weight is another than the checkpoint's own."""
        return bool(self._originals)

    def set(self, uses: Sequence[Use]) -> None:
        """Let these networks stand on the model, whatever stood on it before. Layers whose changes and strengths are
        the same as before are not worked out again.

        Raises:
            ModelError: as `applied`. What stands then is a part of what was asked for, until `restore`.
        """
        wanted = steps_by_place(uses)
        with torch.inference_mode(False), torch.no_grad():
            for place in [place for place in self._now if self._now[place].steps != wanted.get(place)]:
                self._put_aside(place)
                if place not in wanted:
                    self._put_back(place)
            self._kept.trim(wanted.items())
            for place, steps in wanted.items():
                if place not in self._now:
                    self._now[place] = _Standing(steps, self._stood_before(place, steps) or self._change(place, steps))
        self.effects = self._effects(uses)

    def restore(self) -> None:
        """Put every original back; what was worked out is put aside."""
        with torch.inference_mode(False), torch.no_grad():
            for place in list(self._now):
                self._put_aside(place)
            for (part, name), original in self._originals.items():
                _put_back(self._parameter(part, name), original)
        self._originals.clear()
        self._now.clear()

    def _put_aside(self, place: Place) -> None:
        """Remember the weights that stand at a place. They still stand."""
        standing = self._now.pop(place)
        keys = [(place.part, name) for name in self._tensors(place) if (place.part, name) in self._originals]
        tensors = {key: self._parameter(*key).data for key in keys}
        self._kept.add((place, standing.steps), WorkedOut(standing.did, tensors))

    def _stood_before(self, place: Place, steps: tuple[Step, ...]) -> tuple[bool, ...] | None:
        """Let the weights stand that were put aside; whether each step changed something. None: there are none, or the
        model was moved since."""
        found = self._kept.take((place, steps))
        if found is None or not all(_fits(tensor, self._parameter(*key)) for key, tensor in found.tensors.items()):
            return None
        self._stand(place, {name: tensor for (_, name), tensor in found.tensors.items()})
        return found.did

    def _change(self, place: Place, steps: Sequence[Step]) -> tuple[bool, ...]:
        """Work the steps out on the originals of a place, one after the other; whether each changed something."""
        originals = {name: self._original(place.part, name) for name in self._tensors(place)}
        now = dict(originals)
        did = tuple(work_out(step, now) for step in steps)
        self._stand(place, {name: tensor for name, tensor in now.items() if tensor is not originals[name]})
        return did

    def _stand(self, place: Place, changed: Mapping[str, Tensor]) -> None:
        """Let these weights stand at a place, and the originals of its others."""
        for name in self._tensors(place):
            if name in changed:
                self._put(place.part, name, changed[name])
            else:
                self._put_one_back(place.part, name)

    def _put_back(self, place: Place) -> None:
        """Put the originals of a place back."""
        for name in self._tensors(place):
            self._put_one_back(place.part, name)

    def _put_one_back(self, part: str, name: str) -> None:
        original = self._originals.pop((part, name), None)
        if original is not None:
            _put_back(self._parameter(part, name), original)

    def _put(self, part: str, name: str, value: Tensor) -> None:
        """value: in the parameter's shape and of its dtype, or float32, which is rounded once to that."""
        parameter = self._parameter(part, name)
        if parameter.dtype in FLOAT8 and value.dtype != parameter.dtype:
            value = dithered(value, parameter.dtype)
        self._originals.setdefault((part, name), parameter.data)
        with torch.inference_mode(parameter.is_inference()):
            if _is_alike(value, parameter):
                parameter.data = value
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
        """A weight as it is without networks, as float32 where changes are worked out."""
        parameter = self._parameter(part, name)
        kept = self._originals.get((part, name))
        original = parameter.data if kept is None else kept
        return original.to(self._device or parameter.device, torch.float32)


@dataclass(frozen=True)
class _Standing:
    """What stands at a place: its steps, and whether each changed something."""

    steps: tuple[Step, ...]
    did: tuple[bool, ...]


def _is_alike(value: Tensor, parameter: Tensor) -> bool:
    """Whether a value can take the place of a parameter's without a copy."""
    same = _fits(value, parameter) and value.stride() == parameter.stride()
    return same and not parameter.is_inference()


def _fits(value: Tensor, parameter: Tensor) -> bool:
    return value.device == parameter.device and value.dtype == parameter.dtype


def _put_back(parameter: nn.Parameter, original: Tensor) -> None:
    with torch.inference_mode(parameter.is_inference()):
        if parameter.device != original.device:  # the model was moved
            parameter.data.copy_(original)
        else:
            parameter.data = original
