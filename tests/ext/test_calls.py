"""Calling an extension: measured, named when it fails; an observer's error is a note and three are enough."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webui.ext.calls import CURE, Calls
from webui.ext.report import ExtensionReport, Timing
from webui.schema.errors import BadRequest, ExtensionError

HERE = Path(__file__).parent


class Stop(Exception):
    """The core's own."""


def fails(error: BaseException) -> Callable[..., Any]:
    def function(*_given: Any) -> None:
        raise error

    return function


def line_of_fails() -> int:
    return fails.__code__.co_firstlineno + 2


def test_a_result_is_passed_on_and_the_time_kept():
    calls = Calls()
    assert calls.run("one", "before_unet", HERE, lambda a, *, b: a + b, 1, b=2) == 3
    assert calls.run("one", "before_unet", HERE, int) == 0
    timing = calls.times("one")["before_unet"]
    assert timing.calls == 2
    assert timing.seconds >= 0
    assert calls.times("two") == {}


def test_a_failing_hook_is_named_with_error_file_and_line():
    calls = Calls()
    cause = ValueError("no such layer")
    with pytest.raises(ExtensionError) as caught:
        calls.run("leaky", "before_unet", HERE, fails(cause))
    place = f"test_calls.py:{line_of_fails()}"
    assert caught.value.message == f'Extension "leaky" failed in before_unet: ValueError: no such layer ({place}).'
    assert caught.value.cure == CURE
    assert caught.value.__cause__ is cause
    assert calls.times("leaky")["before_unet"].calls == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError, BaseException])
def test_what_is_no_exception_is_an_error_as_any_other(kind: type[BaseException]):
    calls = Calls(passing=(Stop,))
    with pytest.raises(ExtensionError, match=f'"one" failed in before_unet: {kind.__name__}: 3'):
        calls.run("one", "before_unet", HERE, fails(kind(3)))
    with pytest.raises(ExtensionError, match=kind.__name__), calls.running("one", "open_pass", HERE):
        fails(kind(3))()
    calls.run("one", "after_step", HERE, fails(kind(3)))
    assert kind.__name__ in calls.take_notes()[-1]


@pytest.mark.parametrize("said", ["MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_that_a_device_is_full_goes_through(said: str):
    calls, error = Calls(), RuntimeError(said)
    with pytest.raises(RuntimeError) as caught:
        calls.run("one", "control adapter", HERE, fails(error))
    assert caught.value is error
    assert calls.last_fault("one") == ""


def test_what_is_the_cores_own_goes_through():
    calls, error = Calls(passing=(Stop,)), Stop()
    with pytest.raises(Stop) as caught:
        calls.run("one", "after_step", HERE, fails(error))
    assert caught.value is error
    assert calls.last_fault("one") == ""


def test_a_generator_that_waits_in_a_block_can_be_closed():
    calls, ended = Calls(), []

    def waiting() -> Iterator[None]:
        with calls.running("one", "before_unet", HERE):
            try:
                yield
            finally:
                ended.append(True)

    generator = waiting()
    next(generator)
    generator.close()
    assert ended == [True]
    assert calls.last_fault("one") == ""


def test_an_error_of_ours_keeps_its_kind_and_cure():
    with pytest.raises(BadRequest) as caught:
        Calls().run("pose", "preprocessor pose", HERE, fails(BadRequest("There is nobody.", "Take another picture.")))
    assert (caught.value.message, caught.value.cure) == ('Extension "pose": There is nobody.', "Take another picture.")


def test_the_innermost_of_two_extensions_is_named():
    calls = Calls()

    def outer() -> None:
        calls.run("inner", "preprocessor x", HERE, fails(ValueError("no")))

    with pytest.raises(ExtensionError, match=r'^Extension "inner" failed in preprocessor x'):
        calls.run("outer", "before_unet", HERE, outer)


def test_an_observers_error_is_a_note_told_once():
    calls = Calls()
    for _time in range(2):
        assert calls.run("one", "after_step", HERE, fails(ValueError("no"))) is None
    place = f"test_calls.py:{line_of_fails()}"
    assert calls.take_notes() == (f'Extension "one" failed in after_step: ValueError: no ({place}).',)
    assert calls.take_notes() == ()


def test_after_three_faults_in_a_row_an_observer_is_no_longer_called():
    calls = Calls()
    for _time in range(3):
        calls.run("one", "after_step", HERE, fails(ValueError("no")))
    assert calls.take_notes()[-1].endswith("It failed 3 times in a row and is no longer called.")
    called: list[int] = []
    assert calls.run("one", "after_step", HERE, called.append, 1) is None
    assert called == []
    assert calls.switched_off("one") == ("after_step",)
    calls.run("one", "job_done", HERE, called.append, 2)
    calls.run("two", "after_step", HERE, called.append, 3)
    assert called == [2, 3]


def test_a_success_between_faults_starts_the_count_anew():
    calls = Calls()
    for _time in range(5):
        calls.run("one", "after_step", HERE, fails(ValueError("no")))
        calls.run("one", "after_step", HERE, int)
    assert calls.switched_off("one") == ()


def test_a_reload_forgives():
    calls = Calls()
    for _time in range(3):
        calls.run("one", "after_step", HERE, fails(ValueError("no")))
    calls.forgive("one")
    assert calls.run("one", "after_step", HERE, lambda: 1) == 1


def test_the_last_fault_stands_until_the_same_function_works():
    calls = Calls()
    with pytest.raises(ExtensionError):
        calls.run("one", "before_unet", HERE, fails(ValueError("no")))
    calls.run("one", "before_step", HERE, int)
    assert calls.last_fault("one").startswith("failed in before_unet: ValueError: no")
    calls.run("one", "before_unet", HERE, int)
    assert calls.last_fault("one") == ""


def test_a_block_of_code_is_treated_as_a_call():
    calls = Calls()
    with calls.running("one", "open_pass", HERE) as wanted:
        assert wanted
    with pytest.raises(ExtensionError, match="failed in open_pass"), calls.running("one", "open_pass", HERE):
        fails(ValueError("no"))()
    for _time in range(3):
        with calls.running("one", "after_step", HERE):
            fails(ValueError("no"))()
    with calls.running("one", "after_step", HERE) as wanted:
        assert not wanted


def test_no_error_is_left_behind():
    Calls().run("one", "after_step", HERE, fails(ValueError("no")))
    assert sys.exc_info() == (None, None, None)


def test_a_report_travels_as_json():
    report = ExtensionReport("one", "active", "", 0.5, {"before_unet": Timing(3, 0.25)}, ("after_step",))
    assert ExtensionReport.from_json(report.to_json()) == report
    assert report.to_json()["hooks"] == {"before_unet": {"calls": 3, "seconds": 0.25}}
