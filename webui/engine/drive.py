"""Drives many passes in lockstep: what they wait for is answered together, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webui.engine.control import Control
from webui.pipeline.work import (
    DecodeLatent,
    Denoise,
    EncodeImage,
    EncodeText,
    EndSampling,
    EstimateDepth,
    NothingYet,
    OpenPass,
    Pass,
    Picture,
    StopSampling,
    UseModel,
    Work,
)

ORDER = (EncodeText, EncodeImage, EstimateDepth, OpenPass, Denoise, EndSampling, DecodeLatent, UseModel)
"""Passes that lag behind are brought forward first, so that all of a batch sample and decode together; the model is
changed when nobody needs the present one any more."""

Execute = Callable[[Sequence[Any]], Sequence[Any]]
Answered = Callable[[int, Any], None]


def drive(
    passes: Sequence[Pass], execute: Mapping[type, Execute], control: Control, answered: Answered = lambda *_: None
) -> list[Picture | None]:
    """Run passes to their end; None stands for one that was stopped before it had anything to show.

    execute: for each kind of work, a function from a list of it to the list of answers. answered: told every answer,
    and the place of the pass that gets it.
    Whatever happens, every pass is closed.
    """
    results: dict[int, Picture | None] = {}
    waiting: dict[int, Work] = {}

    def advance(index: int, step: Callable[[], Work]) -> None:
        waiting.pop(index, None)
        try:
            waiting[index] = step()
        except StopIteration as end:
            results[index] = end.value
        except NothingYet:
            results[index] = None

    try:
        for index, one in enumerate(passes):
            advance(index, one.__next__)
        while waiting:
            kind, group = _next_group(waiting)
            if kind is Denoise and control.stop_sampling:
                control.cut_short = True
                for index in group:
                    advance(index, lambda one=passes[index]: one.throw(StopSampling()))  # type: ignore[misc]
                continue
            answers = execute[kind]([waiting[index] for index in group])
            for index, answer in zip(group, answers, strict=True):
                answered(index, answer)
                advance(index, lambda one=passes[index], answer=answer: one.send(answer))  # type: ignore[misc]
    finally:
        for one in passes:
            one.close()
    return [results[index] for index in range(len(passes))]


def _next_group(waiting: Mapping[int, Work]) -> tuple[type, list[int]]:
    """The kind of work to do now, and the passes that wait for it."""
    kind = next(kind for kind in ORDER if any(type(work) is kind for work in waiting.values()))
    return kind, sorted(index for index, work in waiting.items() if type(work) is kind)
