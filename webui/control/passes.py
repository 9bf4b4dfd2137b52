"""The control units of one pass of one picture: what they add to each call, summed in unit order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from webui.control.adapters import Residuals, UnetRows
from webui.control.contribution import Contribution, added
from webui.control.effect import Ratios
from webui.control.lone import LoneUnit
from webui.control.units import Unit


class PassUnits:
    """The units of one pass of one picture, in their order; alone: those that act without a control model."""

    def __init__(self, units: Sequence[Unit], alone: Sequence[LoneUnit] = ()) -> None:
        self.units = tuple(units)
        self.alone = tuple(alone)
        self._last: list[tuple[Unit, int, Contribution]] = []

    @property
    def attend(self) -> bool:
        """Whether a unit gives keys and values, so that the U-Net must be called for this picture alone."""
        return any(unit.match.attends for unit in self.units)

    def active(self, call: UnetRows) -> list[Unit]:
        """The units with a control model that act in a call."""
        return [unit for unit in self.units if unit.active(call.step, call.steps)]

    def total(self, call: UnetRows, answers: Mapping[int, Residuals] | None = None) -> Contribution:
        """What all units that are active in this step add to the rows of a call, summed in unit order.

        answers: by unit's number, of networks that were asked for several pictures at once.
        """
        known = answers or {}
        self._last = [(unit, call.step, unit.residuals(call, known.get(unit.number))) for unit in self.active(call)]
        return added([contribution for _, _, contribution in self._last])

    def measure(self, skips: Sequence[Tensor], middle: Tensor) -> None:
        """Compare the residuals of the last `total` with the states they were added to: this picture's rows alone."""
        for unit, step, contribution in self._last:
            unit.measure(step, contribution, skips, middle)
        self._last = []

    def reports(self, steps: int) -> tuple[Ratios, ...]:
        """What each unit did in a pass of so many steps."""
        found = [*(unit.report() for unit in self.units), *(unit.report(steps) for unit in self.alone)]
        return tuple(sorted(found, key=lambda ratios: ratios.number))
