"""Downloads and conversions run one after another in the background, are told of, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from webui.fetch.errors import FetchError
from webui.fetch.receive import Progress
from webui.runtime.errands import KEPT, Errand, Errands
from webui.schema.errors import NotFound


@pytest.fixture
def errands() -> Iterator[Errands]:
    one = Errands()
    yield one
    one.close()


class Slow:
    """Works until it is told to go on, telling of its progress again and again."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def __call__(self, progress: Progress) -> str:
        while not self.go_on.is_set():
            progress("net.safetensors", 5, 10)
            self.begun.set()
            time.sleep(0.005)
        return "It is there."


def ended(errands: Errands, id: str) -> Errand:
    """The errand when it is over."""
    for _ in range(1000):
        found = next(errand for errand in errands.list() if errand.id == id)
        if found.state not in ("waiting", "running"):
            return found
        time.sleep(0.005)
    raise AssertionError("it does not end")


def test_one_runs_after_the_other(errands: Errands):
    first, second = Slow(), Slow()
    ids = [errands.start("first", first).id, errands.start("second", second).id]
    assert first.begun.wait(10)
    assert [errand.state for errand in errands.list()] == ["running", "waiting"]
    running = errands.list()[0]
    assert (running.title, running.file, running.done, running.total) == ("first", "net.safetensors", 5, 10)
    first.go_on.set()
    assert second.begun.wait(10)
    second.go_on.set()
    assert [ended(errands, id).message for id in ids] == ["It is there.", "It is there."]


def test_what_goes_wrong_is_told_with_its_cure(errands: Errands):
    def fail(_progress: Progress) -> str:
        raise FetchError("No file there.", "Try another one.")

    over = ended(errands, errands.start("x", fail).id)
    assert (over.state, over.message, over.cure) == ("failed", "No file there.", "Try another one.")


def test_a_fault_of_the_program_stops_nothing_else(errands: Errands):
    over = ended(errands, errands.start("x", lambda _progress: str(1 // 0)).id)
    assert (over.state, "ZeroDivision" in over.message) == ("failed", False)
    assert ended(errands, errands.start("y", lambda _progress: "done").id).state == "done"


def test_one_that_runs_and_one_that_waits_are_stopped(errands: Errands):
    first = Slow()
    ids = [errands.start("first", first).id, errands.start("second", lambda _progress: "never").id]
    assert first.begun.wait(10)
    errands.cancel(ids[1])
    assert errands.list()[1].state == "cancelled"
    errands.cancel(ids[0])
    assert ended(errands, ids[0]).state == "cancelled"
    assert ended(errands, errands.start("third", lambda _progress: "done").id).state == "done"
    assert ended(errands, ids[1]).state == "cancelled"
    with pytest.raises(NotFound):
        errands.cancel("nobody")


def test_those_that_are_over_are_forgotten_in_the_end(errands: Errands):
    for number in range(KEPT + 10):
        ended(errands, errands.start(str(number), lambda _progress: "").id)
    assert len(errands.list()) == KEPT + 1


def test_closing_ends_what_runs():
    errands, slow = Errands(), Slow()
    errands.start("x", slow)
    assert slow.begun.wait(10)
    errands.close()
    assert errands.list()[0].state == "cancelled"
