"""Passes in lockstep, with plain numbers in the place of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL import Image

from webui.diffusion.denoiser import Cond, Guidance
from webui.diffusion.types import Eval
from webui.engine.control import Control
from webui.engine.drive import drive
from webui.pipeline.work import DecodeLatent, Denoise, EncodeText, NothingYet, Pass, Picture, StopSampling

ONE = torch.zeros(1, 1, 1)
GUIDANCE = Guidance(conds=((Cond(torch.zeros(1, 1)), 1.0),), uncond=Cond(torch.zeros(1, 1)))


def a_pass(name: str, steps: int, log: list[str] | None = None, keeps: bool = True) -> Pass:
    """Text, some steps, a decode; says in the picture's infotext how far it came."""
    done = 0
    try:
        yield EncodeText(name, "", 1, 8, 8)
        for step in range(steps):
            try:
                yield Denoise(Eval(ONE, 1.0, step), GUIDANCE, steps)
            except StopSampling:
                if not keeps:
                    raise NothingYet from None
                break
            done += 1
        yield DecodeLatent(ONE)
        return Picture(Image.new("RGB", (8, 8)), {"name": name, "done": done})
    finally:
        if log is not None:
            log.append(f"{name} closed")


def recording(calls: list[tuple[str, int]]) -> dict[type, Any]:
    def answer(kind: type) -> Any:
        def execute(items: Sequence[Any]) -> list[Any]:
            calls.append((kind.__name__, len(items)))
            return [None] * len(items)

        return execute

    return {kind: answer(kind) for kind in (EncodeText, Denoise, DecodeLatent)}


def done(pictures: list[Picture | None]) -> list[Any]:
    return [picture and picture.infotext["done"] for picture in pictures]


def test_pictures_of_a_batch_share_every_call() -> None:
    calls: list[tuple[str, int]] = []
    pictures = drive([a_pass("a", 3), a_pass("b", 3)], recording(calls), Control())
    assert calls == [("EncodeText", 2), *[("Denoise", 2)] * 3, ("DecodeLatent", 2)]
    assert [picture and picture.infotext["name"] for picture in pictures] == ["a", "b"]


def test_a_pass_that_needs_more_steps_goes_on_alone() -> None:
    calls: list[tuple[str, int]] = []
    drive([a_pass("a", 1), a_pass("b", 3)], recording(calls), Control())
    assert calls == [("EncodeText", 2), ("Denoise", 2), ("Denoise", 1), ("Denoise", 1), ("DecodeLatent", 2)]


@pytest.mark.parametrize("mode", ["interrupt", "skip"])
def test_a_stop_acts_before_the_next_step_and_keeps_what_was_drawn(mode: Any) -> None:
    control = Control()
    table = recording([])
    steps = table[Denoise]

    def stop_in_the_second(items: Sequence[Denoise]) -> Sequence[Any]:
        if items[0].eval.step == 1:
            control.ask(mode)
        return steps(items)

    table[Denoise] = stop_in_the_second
    assert done(drive([a_pass("a", 20), a_pass("b", 20)], table, control)) == [2, 2]


def test_a_pass_stopped_before_it_has_anything_gives_nothing() -> None:
    control = Control()
    control.ask("interrupt")
    assert drive([a_pass("a", 5, keeps=False)], recording([]), control) == [None]


def test_every_pass_is_closed_when_a_call_fails() -> None:
    log: list[str] = []
    table = recording([])

    def fail(items: Sequence[Any]) -> list[Any]:
        raise ValueError("no")

    table[Denoise] = fail
    with pytest.raises(ValueError, match="no"):
        drive([a_pass("a", 2, log), a_pass("b", 2, log)], table, Control())
    assert log == ["a closed", "b closed"]


def test_a_skip_concerns_one_batch_alone() -> None:
    control = Control()
    control.ask("skip")
    control.next_batch()
    assert not control.stop_sampling
    control.ask("interrupt")
    control.next_batch()
    assert control.stop_sampling
