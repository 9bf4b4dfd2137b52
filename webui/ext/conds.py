"""The conds that an extension reads, and what it hands back of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from webui.control.copies import copied
from webui.diffusion.denoiser import Cond, Guidance


class LentConds:
    """The copies of conds that one extension reads in one pass.

    A copy that comes back unchanged stands for the cond itself: by that the program knows which conds were left as
    they are. Everything else that comes is copied.
    """

    def __init__(self) -> None:
        self._lent: list[tuple[Cond, Cond]] = []

    def lend(self, guidance: Guidance) -> Guidance:
        """The guidance with a copy of each cond, the same one each time."""
        return with_each(guidance, self._copy)

    def take(self, guidance: Guidance) -> Guidance:
        """What the extension hands back."""
        return with_each(guidance, self._own)

    def _copy(self, cond: Cond) -> Cond:
        found = next((lent for source, lent in self._lent if source is cond), None)
        if found is None:
            found = copied(cond)
            self._lent.append((cond, found))
        return found

    def _own(self, cond: Cond) -> Cond:
        source = next((source for source, lent in self._lent if lent is cond), None)
        return source if source is not None and equal(source, cond) else copied(cond)


def with_concat_of(guidance: Guidance, opened: Guidance) -> Guidance:
    """The guidance with the further input channels of the one that a pass was opened with, where a cond has none, and
    what stands beside the text there."""
    concat = opened.uncond.concat
    if concat is None:
        return guidance

    def beside(cond: Cond) -> Cond:
        lacking = {"concat": concat, "y": opened.uncond.y}
        given = {name: one for name, one in lacking.items() if one is not None and getattr(cond, name) is None}
        return replace(cond, **given) if given else cond

    conds = tuple((beside(cond), weight) for cond, weight in guidance.conds)
    uncond, bare = beside(guidance.uncond), guidance.bare
    if bare is not None and guidance.uncond is not opened.uncond:
        bare = replace(uncond, concat=bare.concat)
    return replace(guidance, conds=conds, uncond=uncond, bare=bare)


def with_each(guidance: Guidance, change: Callable[[Cond], Cond]) -> Guidance:
    """The guidance with another cond in the place of each."""
    conds = tuple((change(cond), weight) for cond, weight in guidance.conds)
    named: dict[str, Any] = {field.name: getattr(guidance, field.name) for field in fields(guidance)}
    others: dict[str, Any] = {name: change(value) for name, value in named.items() if isinstance(value, Cond)}
    return replace(guidance, conds=conds, **others)


def equal(one: Cond, other: Cond) -> bool:
    """Whether two conds hold the same numbers."""

    def same(a: Tensor | None, b: Tensor | None) -> bool:
        return a is b or (a is not None and b is not None and torch.equal(a, b))

    return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
