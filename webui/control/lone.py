"""A control unit without a control model at work: the extension of its preprocessor acts by hooks of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from webui.control.adapters import Hint
from webui.control.copies import copied
from webui.control.effect import Effect, Ratios, label_of
from webui.control.policy import in_window
from webui.schema.control import ControlUnit


@dataclass(frozen=True)
class LoneUnit:
    """A unit without a control model, in one pass: the extension of its preprocessor acts by hooks of its own.

    number: from 1; hint: its map; region: (1 1 h w) in 0..1, where it acts, or None for everywhere. effect: what the
    extension told of it.
    """

    number: int
    settings: ControlUnit
    hint: Hint
    region: Tensor | None = None
    hires: bool = False
    effect: Effect = field(default_factory=Effect)

    def active(self, step: int, steps: int) -> bool:
        """Whether it acts in solver step `step` (from 0) of `steps`."""
        return self.settings.weight != 0 and in_window(self.settings, step, steps)

    def lent(self) -> LoneUnit:
        """The unit as an extension sees it: it may write into what it reads there; what it tells counts."""
        return replace(self, hint=copied(self.hint), region=copied(self.region))

    def tell(self, step: int, added: Tensor, state: Tensor) -> None:
        """What the extension did for this unit in a step: it added `added` to `state`, two tensors of one shape.

        The mean of |added| / |state| in each step is shown under the picture.
        """
        self.effect.tell(step, added, state)

    def report(self, steps: int) -> Ratios:
        """What it did in a pass of so many steps, as far as the extension told."""
        acted = any(self.active(step, steps) for step in range(steps))
        measured = bool(self.effect.steps) or not acted
        return Ratios(self.number, label_of(self.settings), self.effect.steps, self.effect.values, measured)
