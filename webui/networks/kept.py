"""Weights that were worked out with networks, for the next time that the same are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from webui.networks.names import Place
from webui.networks.steps import Step

KEPT_BYTES = 4 * 2**30
"""What is kept at most beside the weights that are wanted now."""

Key = tuple[Place, tuple[Step, ...]]
"""Where, and what was done there; networks that were opened anew are others."""


@dataclass(frozen=True, eq=False)
class WorkedOut:
    """did: of each step whether it changed something; tensors: the changed weights by (part, name), in the model's
    dtype and strides."""

    did: tuple[bool, ...]
    tensors: Mapping[tuple[str, str], Tensor] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


class KeptWeights:
    """What was put aside, the latest last."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Key, WorkedOut] = OrderedDict()

    @property
    def bytes(self) -> int:
        """How much all of it is."""
        return sum(one.bytes for one in self._kept.values())

    def add(self, key: Key, worked_out: WorkedOut) -> None:
        """Put something aside, whatever the limit is: until `trim` it needs no more memory than before."""
        self._kept[key] = worked_out
        self._kept.move_to_end(key)

    def take(self, key: Key) -> WorkedOut | None:
        """What was put aside there; it is not here any more."""
        return self._kept.pop(key, None)

    def trim(self, wanted: Container[Key] = ()) -> None:
        """Let the oldest go until the limit holds. wanted: these stay, and do not count."""
        rest = {key: one.bytes for key, one in self._kept.items() if key not in wanted}
        excess = sum(rest.values()) - self._limit
        for key, size in rest.items():
            if excess <= 0:
                return
            del self._kept[key]
            excess -= size

    def clear(self) -> None:
        self._kept.clear()
