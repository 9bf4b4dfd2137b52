"""The small functions between what extensions hand in and what a U-Net call takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from webui.control.adapters import Residuals
from webui.control.copies import copied
from webui.diffusion.denoiser import Guidance
from webui.ext.conds import with_each
from webui.nn.taps import Controls, KeysValues

Function = Callable[..., Any]


def own(guidance: Guidance) -> Guidance:
    """A copy down to the tensors."""
    return with_each(guidance, copied)


def as_controls(answer: Residuals | Controls, blocks: int) -> Controls:
    """What a provider returned, as a U-Net with so many input blocks takes it. Raises ValueError for anything else."""
    if not isinstance(answer, (Residuals, Controls)):
        raise ValueError(f"add_control's function returned {type(answer).__name__} in the place of Residuals")
    if len(answer.skips) not in (0, blocks):
        raise ValueError(f"there are {len(answer.skips)} residuals for {blocks} input blocks")
    return Controls(answer.skips, answer.middle, answer.hidden)


def for_rows(extra: KeysValues, count: int) -> KeysValues:
    """Keys and values (1 m c) or (m c) repeated for every row of a call."""

    def repeated(x: Tensor) -> Tensor:
        return (x[None] if x.ndim == 2 else x).expand(count, -1, -1)

    return replace(extra, keys=repeated(extra.keys), values=repeated(extra.values))


def chain(functions: Sequence[Function]) -> Function:
    """One after another: each gets what the one before returned."""

    def chained(x: Tensor) -> Tensor:
        for function in functions:
            x = function(x)
        return x

    return chained


def total(functions: Sequence[Function]) -> Function:
    """The sum of what they return for the same input."""

    def summed_up(x: Tensor) -> Tensor:
        result: Tensor = sum(function(x) for function in functions[1:]) + functions[0](x)
        return result

    return summed_up


def check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(f"this U-Net has no {name!r}; it has {', '.join(known) or 'none'}")


def owned(call: Function, what: str, owner: str, fn: Function) -> Function:
    """The function, named when it fails. It is given copies: tensors of the model's own pass on to others."""

    def named(*given: Any) -> Any:
        return call(what, owner, fn, *copied(given))

    return named
