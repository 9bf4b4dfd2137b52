"""What units add to one call of the U-Net, and its sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from webui.nn.taps import Controls, KeysValues


@dataclass(frozen=True)
class Contribution:
    """What units add to one call, weighted: `controls` for the U-Net, keys_values for its taps."""

    controls: Controls = field(default_factory=Controls)
    keys_values: Mapping[str, tuple[KeysValues, ...]] = field(default_factory=dict)


def added(contributions: Sequence[Contribution]) -> Contribution:
    """The sum of contributions to one call, in their order."""
    return Contribution(
        summed([contribution.controls for contribution in contributions]),
        _joined([contribution.keys_values for contribution in contributions]),
    )


def summed(controls: Sequence[Controls]) -> Controls:
    """The sum of residuals in their order; as many skips as the longest has."""
    longest = max((len(one.skips) for one in controls), default=0)
    skips: list[Tensor | None] = [None] * longest
    middle: Tensor | None = None
    hidden: dict[int, Tensor] = {}
    for one in controls:
        for index, residual in enumerate(one.skips):
            skips[index] = _plus(skips[index], residual)
        middle = _plus(middle, one.middle)
        for block, residual in one.hidden.items():
            hidden[block] = residual if block not in hidden else hidden[block] + residual
    return Controls(skips, middle, hidden)


def _plus(total: Tensor | None, residual: Tensor | None) -> Tensor | None:
    if total is None or residual is None:
        return residual if total is None else total
    return total + residual


def _joined(given: Sequence[Mapping[str, tuple[KeysValues, ...]]]) -> dict[str, tuple[KeysValues, ...]]:
    joined: dict[str, tuple[KeysValues, ...]] = {}
    for one in given:
        for name, extra in one.items():
            joined[name] = joined.get(name, ()) + extra
    return joined
