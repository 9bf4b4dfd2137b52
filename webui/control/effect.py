"""What a unit did: how large what it added was beside what it was added to, for each solver step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from webui.schema.control import ControlUnit


@dataclass(frozen=True)
class Ratios:
    """What a unit did: for each solver step it acted in, the mean of |added| / |state|, Euclidean norms; number
    from 1.

    steps: those solver steps, from 0. measured: false where it acted, but nobody told how much.
    """

    number: int
    label: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    measured: bool = True


@dataclass(frozen=True)
class Effect:
    """The measurements of one unit in one pass: solver step -> ratios, kept on their device until they are read."""

    measured: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, step: int, added: Tensor, state: Tensor) -> None:
        """In this step, `added` was added to `state`: two tensors of one shape."""
        self.measured[step].append(relative(added, state))

    @property
    def steps(self) -> tuple[int, ...]:
        """The solver steps in which something was told."""
        return tuple(sorted(self.measured))

    @property
    def values(self) -> tuple[float, ...]:
        """The mean ratio of each of these steps."""
        return tuple(float(torch.stack(self.measured[step]).mean()) for step in self.steps)


def relative(added: Tensor, state: Tensor) -> Tensor:
    """|added| / |state|, a number on their device."""
    return added.float().norm() / state.float().norm().clamp_min(1e-12)


def label_of(settings: ControlUnit) -> str:
    """What the user calls a unit: its model, or its preprocessor where it acts alone."""
    return settings.model or settings.preprocessor
