from __future__ import annotations

import time

import pytest

from webui.engine.watchdog import Patience, Watchdog


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def with_steps(seconds: float, count: int = 5) -> Watchdog:
    dog = Watchdog(Patience(floor=60, factor=20, first=600, loading=1800))
    for _ in range(count):
        dog.heard("Denoise", None)
        dog.heard("Denoise", seconds)
    return dog


@pytest.mark.parametrize(("step", "limit"), [(0.1, 60), (3.0, 60), (10.0, 200)])
def test_a_call_may_take_twenty_medians_and_at_least_a_minute(clock: list[float], step: float, limit: float) -> None:
    dog = with_steps(step)
    dog.heard("Denoise", None)
    clock[0] += limit
    assert dog.overdue() is None
    clock[0] += 1
    assert dog.overdue() == f"it has not returned from Denoise in {limit} s"


def test_an_engine_that_rests_is_never_overdue(clock: list[float]) -> None:
    dog = with_steps(1.0)
    clock[0] += 1e6
    assert dog.overdue() is None


def test_the_first_call_of_a_model_has_more_time(clock: list[float]) -> None:
    dog = with_steps(1.0)
    dog.heard("load", None)
    dog.heard("load", 5.0)
    dog.heard("Denoise", None)
    clock[0] += 599
    assert dog.overdue() is None
    clock[0] += 2
    assert dog.overdue() is not None


def test_a_question_that_was_never_answered_has_a_limit_of_its_own(clock: list[float]) -> None:
    dog = Watchdog(Patience(first=600, asked=30))
    for kind, limit in (("preprocess canny", 30), ("route echo", 30), ("prepare_job", 600)):
        dog.heard(kind, None)
        clock[0] += limit
        assert dog.overdue() is None
        clock[0] += 1
        assert dog.overdue() == f"it has not returned from {kind} in {limit} s"


def test_an_engine_that_starts_anew_is_timed_anew(clock: list[float]) -> None:
    dog = with_steps(1.0)
    dog.heard("Denoise", None)
    dog.reset()
    clock[0] += 1e6
    assert dog.overdue() is None
