"""Control units at work: one pass's units, each call's residuals weighted, masked and summed in unit order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from webui.control.adapters import ControlAdapter, Hint, Match, Residuals, UnetRows
from webui.control.policy import acting_rows, factors, in_window
from webui.nn.config import UNetConfig
from webui.nn.taps import Controls, KeysValues
from webui.schema.control import ControlUnit


@dataclass(frozen=True)
class Contribution:
    """What units add to one call, weighted: `controls` for the U-Net, keys_values for its taps."""

    controls: Controls = field(default_factory=Controls)
    keys_values: Mapping[str, tuple[KeysValues, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratios:
    """What a unit did: for each solver step it acted in, the mean of |residual| / |hidden state|; number from 1.

    steps: those solver steps, from 0. measured: false for units whose part cannot be compared (IP-Adapter).
    """

    number: int
    label: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    measured: bool = True


class Unit:
    """One unit in one pass of one picture. Not shared between passes; used by one thread.

    settings: as in the request; number: from 1, as the user counts. config: the U-Net's. hint: what the network reads
    in this pass. region: (1 1 h w) in 0..1, where the unit acts, or None for everywhere.
    """

    def __init__(
        self,
        number: int,
        settings: ControlUnit,
        adapter: ControlAdapter,
        match: Match,
        config: UNetConfig,
        hint: Hint,
        region: Tensor | None = None,
        hires: bool = False,
    ) -> None:
        self.number = number
        self.settings = settings
        self.match = match
        self.hint = hint
        self.region = region
        self.hires = hires
        self._adapter = adapter
        self._config = config
        self._prepared: Any = None
        self._is_prepared = False
        self._measured: dict[int, list[Tensor]] = defaultdict(list)

    @property
    def label(self) -> str:
        """What the user calls it."""
        return self.settings.model or self.settings.preprocessor

    def active(self, step: int, steps: int) -> bool:
        """Whether it acts in solver step `step` (from 0) of `steps`."""
        strength = max(map(abs, self.settings.layer_weights), default=self.settings.weight)
        return strength != 0 and in_window(self.settings, step, steps)

    def residuals(self, call: UnetRows) -> Contribution:
        """Its weighted residuals for the rows of one call; rows in which it does not act have zeros."""
        rows = acting_rows(self.settings, call.is_cond, self.match.pooled)
        if not rows:
            return Contribution()
        with self._at_hand(call.x.device):
            raw = self._adapter.residuals(call.only(rows), self._ready())
        spread = Spread(rows, len(call.is_cond))
        return Contribution(self._controls(raw, spread), self._keys_values(raw, spread, call.x))

    def measure(self, step: int, given: Contribution, skips: Sequence[Tensor], middle: Tensor) -> None:
        """Remember how large the residuals of a call were beside the states (b c h w) they were added to."""
        pairs = list(zip(given.controls.skips, skips, strict=False))
        pairs += [(given.controls.middle, middle)]
        pairs += [(residual, skips[block]) for block, residual in given.controls.hidden.items()]
        ratios = [
            residual.float().norm() / state.float().norm().clamp_min(1e-12)
            for residual, state in pairs
            if residual is not None
        ]
        if ratios:
            self._measured[step].append(torch.stack(ratios).mean())

    def report(self) -> Ratios:
        """What it did; steps in which it did not act are not there."""
        steps = tuple(sorted(self._measured))
        values = tuple(float(torch.stack(self._measured[step]).mean()) for step in steps)
        return Ratios(self.number, self.label, steps, values, not self.match.attends)

    def _ready(self) -> Any:
        if not self._is_prepared:
            self._prepared, self._is_prepared = self._adapter.prepare(self.hint), True
        return self._prepared

    @contextmanager
    def _at_hand(self, device: torch.device) -> Iterator[None]:
        """The network on the device of the call; away again afterwards where the unit is to save memory."""
        for module in self._adapter.modules():
            module.to(device)
        try:
            yield
        finally:
            if self.settings.low_vram:
                for module in self._adapter.modules():
                    module.to("cpu")

    def _controls(self, raw: Residuals, spread: Spread) -> Controls:
        blocks = sorted(raw.hidden)
        states = [raw.hidden[block] for block in blocks] if blocks else raw.skips
        count = len(states) + (raw.middle is not None)
        scales = factors(self.settings, count, self.hires, features=bool(blocks))
        scaled = [self._scaled(state, scale, spread) for state, scale in zip(states, scales, strict=False)]
        middle = self._scaled(raw.middle, scales[-1], spread) if raw.middle is not None else None
        if blocks:
            acting = {block: state for block, state in zip(blocks, scaled, strict=True) if state is not None}
            return Controls((), middle, acting)
        return Controls(scaled, middle)

    def _scaled(self, residual: Tensor | None, scale: float, spread: Spread) -> Tensor | None:
        """mean -> mask -> factor -> all rows of the call: (rows c h w) -> (b c h w)."""
        if residual is None:
            return None
        if self.match.pooled:
            residual = residual.mean(dim=(-2, -1), keepdim=True).expand_as(residual)
        if self.region is not None:
            residual = residual * fit_mask(self.region, residual.shape[-2:]).to(residual)
        return spread.fill(residual * scale)

    def _keys_values(self, raw: Residuals, spread: Spread, x: Tensor) -> dict[str, tuple[KeysValues, ...]]:
        weight = factors(self.settings, 1, self.hires)[0]
        acting = spread.fill(x.new_full((1, 1, 1), weight))  # (b 1 1)
        return {
            name: (KeysValues(spread.fill(keys), spread.fill(values), acting * self._region_tokens(name, x)),)
            for name, (keys, values) in raw.keys_values.items()
        }

    def _region_tokens(self, attention: str, x: Tensor) -> Tensor | float:
        """The region mask at the size of an attention, (1 n 1)."""
        if self.region is None:
            return 1.0
        size = attention_size(self._config, attention, (x.shape[-2], x.shape[-1]))
        return fit_mask(self.region, size).to(x).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Spread:
    """Which rows of a call of `count` rows a unit acts in."""

    rows: tuple[int, ...]
    count: int

    def fill(self, x: Tensor) -> Tensor:
        """(rows or 1 ...) -> (count ...), zeros in the other rows."""
        x = x.expand(len(self.rows), *x.shape[1:])
        if len(self.rows) == self.count:
            return x
        whole = x.new_zeros(self.count, *x.shape[1:])
        whole[list(self.rows)] = x
        return whole


@dataclass(frozen=True)
class LoneUnit:
    """A unit without a control model, in one pass: the extension of its preprocessor acts by hooks of its own.

    number: from 1; hint: its map; region: (1 1 h w) in 0..1, where it acts, or None for everywhere.
    """

    number: int
    settings: ControlUnit
    hint: Hint
    region: Tensor | None = None
    hires: bool = False

    def active(self, step: int, steps: int) -> bool:
        """Whether it acts in solver step `step` (from 0) of `steps`."""
        return self.settings.weight != 0 and in_window(self.settings, step, steps)


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

    def total(self, call: UnetRows) -> Contribution:
        """What all units that are active in this step add to the rows of a call, summed in unit order."""
        self._last = [
            (unit, call.step, unit.residuals(call)) for unit in self.units if unit.active(call.step, call.steps)
        ]
        return added([contribution for _, _, contribution in self._last])

    def measure(self, skips: Sequence[Tensor], middle: Tensor) -> None:
        """Compare the residuals of the last `total` with the states they were added to: this picture's rows alone."""
        for unit, step, contribution in self._last:
            unit.measure(step, contribution, skips, middle)
        self._last = []

    def reports(self) -> tuple[Ratios, ...]:
        """What each unit did."""
        return tuple(unit.report() for unit in self.units)


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


def fit_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask (1 1 h w) at another size (h, w), bilinear."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return F.interpolate(mask.float(), size=tuple(size), mode="bilinear", align_corners=False)


def attention_size(config: UNetConfig, attention: str, latent: tuple[int, int]) -> tuple[int, int]:
    """(h, w) in which an attention of the U-Net sees a latent of (h, w): halved, rounding up, on each level."""
    side, index = attention.split(".")[:2]
    levels = len(config.channel_mult)
    if side == "middle_block":
        level = levels - 1
    elif side == "input_blocks":
        starts = list(accumulate((blocks + 1 for blocks in config.res_blocks), initial=1))
        level = sum(int(index) >= start for start in starts[1:])
    else:
        ends = list(accumulate(blocks + 1 for blocks in reversed(config.res_blocks)))
        level = levels - 1 - sum(int(index) >= end for end in ends)
    h, w = latent
    for _ in range(level):
        h, w = (h + 1) // 2, (w + 1) // 2
    return h, w


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
