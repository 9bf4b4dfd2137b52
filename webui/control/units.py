"""A control unit with a control model at work: in each call its residuals, weighted and masked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from webui.control.adapters import Hint, Match, Network, Residuals, UnetRows
from webui.control.areas import attention_size, fit_mask
from webui.control.contribution import Contribution
from webui.control.copies import copied
from webui.control.effect import Effect, Ratios, label_of
from webui.control.keeper import Keeper, Simple
from webui.control.policy import acting_rows, factors, in_window
from webui.nn.config import UNetConfig
from webui.nn.taps import Controls, KeysValues
from webui.schema.control import ControlUnit


@dataclass(frozen=True, eq=False)
class Fitted:
    """A unit with a control model, made ready for passes of one size: the same for all pictures of a batch.

    settings: as in the request; number: from 1, as the user counts. config: the U-Net's. hint: what the network reads.
    region: (1 1 h w) in 0..1, where the unit acts, or None for everywhere. keeper: lends the network; None: it is moved
    as it is.
    """

    number: int
    settings: ControlUnit
    adapter: Network
    match: Match
    config: UNetConfig
    hint: Hint
    region: Tensor | None = None
    hires: bool = False
    keeper: Keeper | None = None

    @cached_property
    def prepared(self) -> Any:
        """What the adapter makes of the hint, once. The hint itself is for all: the adapter gets a copy."""
        return self.adapter.prepare(copied(self.hint))


class Unit:
    """One unit in one pass of one picture. Not shared between passes; used by one thread."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        self.number = fitted.number
        self.settings = fitted.settings
        self.match = fitted.match
        self.hint = fitted.hint
        self.region = fitted.region
        self.hires = fitted.hires
        self._effect = Effect()

    @property
    def label(self) -> str:
        """What the user calls it."""
        return label_of(self.settings)

    def lent(self) -> Unit:
        """The unit as an extension sees it: it may write into what it reads there."""
        seen = copy.copy(self)
        seen.hint, seen.region = copied(self.hint), copied(self.region)
        seen.fitted = replace(self.fitted, hint=seen.hint, region=seen.region)
        return seen

    def active(self, step: int, steps: int) -> bool:
        """Whether it acts in solver step `step` (from 0) of `steps`."""
        strength = max(map(abs, self.settings.layer_weights), default=self.settings.weight)
        return strength != 0 and in_window(self.settings, step, steps)

    def rows(self, call: UnetRows) -> tuple[int, ...]:
        """The rows of a call in which it acts."""
        return acting_rows(self.settings, call.is_cond, self.match.pooled)

    def ask(self, call: UnetRows) -> Residuals:
        """The network's own answer for these rows. What was prepared is for all pictures: the adapter gets a copy."""
        fitted = self.fitted
        keeper = fitted.keeper or Simple(call.x.device)
        return keeper.lend(
            fitted.adapter.modules(),
            lambda: fitted.adapter.residuals(call, copied(fitted.prepared)),
            after=self.settings.low_vram,
        )

    def residuals(self, call: UnetRows, answer: Residuals | None = None) -> Contribution:
        """Its weighted residuals for the rows of one call; rows in which it does not act have zeros.

        answer: the network's, where it was asked together with other pictures.
        """
        rows = self.rows(call)
        if not rows:
            return Contribution()
        raw = self.ask(call.only(rows)) if answer is None else answer
        spread = Spread(rows, len(call.is_cond))
        return Contribution(self._controls(raw, spread), self._keys_values(raw, spread, call))

    def measure(self, step: int, given: Contribution, skips: Sequence[Tensor], middle: Tensor) -> None:
        """Remember how large the residuals of a call were beside the states (b c h w) they were added to."""
        pairs = list(zip(given.controls.skips, skips, strict=False))
        pairs += [(given.controls.middle, middle)]
        pairs += [(residual, skips[block]) for block, residual in given.controls.hidden.items()]
        for residual, state in pairs:
            if residual is not None:
                self._effect.tell(step, residual, state)

    def report(self) -> Ratios:
        """What it did; steps in which it did not act are not there."""
        return Ratios(self.number, self.label, self._effect.steps, self._effect.values)

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

    def _keys_values(self, raw: Residuals, spread: Spread, call: UnetRows) -> dict[str, tuple[KeysValues, ...]]:
        weight = factors(self.settings, 1, self.hires)[0]
        acting = spread.fill(call.x.new_full((1, 1, 1), weight))  # (b 1 1)
        watch = partial(self._effect.tell, call.step)
        return {
            name: (
                KeysValues(spread.fill(keys), spread.fill(values), acting * self._region_tokens(name, call.x), watch),
            )
            for name, (keys, values) in raw.keys_values.items()
        }

    def _region_tokens(self, attention: str, x: Tensor) -> Tensor | float:
        """The region mask at the size of an attention, (1 n 1)."""
        if self.region is None:
            return 1.0
        size = attention_size(self.fitted.config, attention, (x.shape[-2], x.shape[-1]))
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
