"""The supervised engine process, against a child that falls, hangs and talks nonsense on demand."""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.stub_child import RED
from webui.engine.client import EngineProcess
from webui.engine.interface import Answered
from webui.engine.spawn import EngineOptions
from webui.engine.watchdog import Patience
from webui.schema.errors import AtelierError, BadRequest, EngineDied
from webui.schema.events import Done, Event, Failed, ImageReady, Note, Stage, Started
from webui.schema.requests import Txt2Img


@dataclass(frozen=True)
class StubOptions(EngineOptions):
    word: str = ""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.engine.stub_child", self.word]


class Harness:
    """An engine and the events it gave."""

    def __init__(self, word: str = "", patience: Patience | None = None) -> None:
        self.events: queue.Queue[tuple[Event, bytes | None]] = queue.Queue()
        options = StubOptions(Path("."), word=word, patience=patience or Patience())
        self.engine = EngineProcess(options, lambda event, blob: self.events.put((event, blob)))
        self.engine.start()

    def run(self, job_id: str, prompt: str, images: dict[str, bytes] | None = None) -> list[tuple[Event, bytes | None]]:
        """Submit a job and collect its events up to the last."""
        self.engine.submit(job_id, Txt2Img(prompt=prompt), images or {})
        return self.until_end()

    def until_end(self) -> list[tuple[Event, bytes | None]]:
        seen = []
        while True:
            seen.append(self.events.get(timeout=20))
            if isinstance(seen[-1][0], (Done, Failed)):
                return seen


@pytest.fixture
def harness() -> Iterator[Harness]:
    one = Harness()
    yield one
    one.engine.stop()


def failure(events: list[tuple[Event, bytes | None]]) -> dict[str, str]:
    last = events[-1][0]
    assert isinstance(last, Failed)
    return last.error


def test_a_job_comes_back_with_its_picture_byte_for_byte(harness: Harness) -> None:
    events = harness.run("a", "red")
    pictures = [(event, blob) for event, blob in events if isinstance(event, ImageReady)]
    assert [(event.width, event.height, blob) for event, blob in pictures] == [(8, 8, RED)]


def test_the_pictures_of_a_request_travel_with_it(harness: Harness) -> None:
    events = harness.run("a", "red", {"1" * 64: b"one", "2" * 64: b"two"})
    assert [event.seed for event, _ in events if isinstance(event, ImageReady)] == [2]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [("exit", "exit code 7; its last words: out of luck"), ("kill", "SIGKILL"), ("garbage", "is announced")],
)
def test_a_child_that_falls_fails_its_job_with_the_reason_and_the_next_job_works(
    harness: Harness, wish: str, reason: str
) -> None:
    error = failure(harness.run("a", wish))
    assert error["code"] == "engine_died"
    assert reason in error["message"]
    assert isinstance(harness.run("b", "red")[-1][0], Done)
    assert harness.engine.restarts == 1


def test_a_child_that_hangs_is_killed_and_the_next_job_works() -> None:
    harness = Harness(patience=Patience(floor=0.3, factor=20, first=0.3))
    error = failure(harness.run("a", "hang"))
    assert "has not returned from Denoise" in error["message"]
    assert isinstance(harness.run("b", "red")[-1][0], Done)
    harness.engine.stop()


def test_a_cancel_reaches_the_running_job(harness: Harness) -> None:
    harness.engine.submit("a", Txt2Img(prompt="wait for cancel"), {})
    assert harness.events.get(timeout=20)[0].type == "started"
    harness.engine.cancel("a", "interrupt")
    last = harness.until_end()[-1][0]
    assert isinstance(last, Done)
    assert last.interrupted


def test_a_cancel_before_the_engine_is_ready_ends_the_job_at_once() -> None:
    harness = Harness()
    harness.engine.submit("a", Txt2Img(prompt="red"), {})
    harness.engine.cancel("a", "interrupt")
    assert isinstance(harness.until_end()[-1][0], Done)
    harness.engine.stop()


def test_a_second_job_while_one_runs_is_a_mistake_of_the_caller(harness: Harness) -> None:
    harness.engine.submit("a", Txt2Img(prompt="wait for cancel"), {})
    with pytest.raises(RuntimeError, match="job a still runs"):
        harness.engine.submit("b", Txt2Img(prompt="red"), {})


def test_an_engine_that_cannot_use_its_device_tells_every_job_why() -> None:
    harness = Harness("unusable")
    assert failure(harness.run("a", "red"))["message"] == "no such device"
    assert failure(harness.run("b", "red"))["message"] == "no such device"
    harness.engine.stop()


def test_stopping_ends_the_child(harness: Harness) -> None:
    harness.run("a", "red")
    child = harness.engine._supervisor._child
    assert child is not None
    assert child.runs
    harness.engine.stop()
    assert not child.runs


def test_a_question_is_answered_beside_the_jobs_with_its_pictures(harness: Harness) -> None:
    answer, frames = harness.engine.ask("preprocess", {"low": 1}, {"1" * 64: RED}).result(20)
    assert (answer.body["low"], answer.sizes, frames) == (1, ((8, 8),), (RED,))


def test_a_question_asked_while_the_engine_starts_waits_for_it() -> None:
    harness = Harness()
    assert harness.engine.ask("report", {"early": True}, {}).result(20)[0].body["early"]
    harness.engine.stop()


def test_a_question_that_cannot_be_answered_raises_what_the_engine_says(harness: Harness) -> None:
    with pytest.raises(BadRequest, match="no such preprocessor"):
        harness.engine.ask("preprocess", {"wish": "fail"}, {}).result(20)


def test_a_question_that_ends_the_engine_raises_so_and_the_next_is_answered(harness: Harness) -> None:
    with pytest.raises(EngineDied):
        harness.engine.ask("route", {"wish": "exit"}, {}).result(20)
    assert harness.engine.ask("report", {}, {}).result(20)[0].error is None


class Long:
    """A job that has made one of its two pictures."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.harness = Harness(patience=patience)
        self.engine = self.harness.engine
        self.engine.submit("a", Txt2Img(prompt="long"), {})
        self.seen: list[tuple[Event, bytes | None]] = []
        self.until(ImageReady)

    def until(self, kind: type[Event]) -> None:
        while not self.seen or not isinstance(self.seen[-1][0], kind):
            self.seen.append(self.harness.events.get(timeout=20))

    def until_begun_anew(self) -> None:
        self.until(Stage)
        self.until(Started)

    def ask(self, preprocessor: str, **body: str) -> Future[Answered]:
        return self.engine.ask("preprocess", {"unit": {"preprocessor": preprocessor}, **body}, {})

    def finish(self) -> Event:
        """Let it make its second picture; its last event."""
        self.until_begun_anew()
        self.ask("plain", wish="end").result(20)
        self.seen += self.harness.until_end()
        return self.seen[-1][0]

    @property
    def notes(self) -> list[str]:
        return [event.message for event, _ in self.seen if isinstance(event, Note)]

    @property
    def pictures(self) -> list[int]:
        return [event.index for event, _ in self.seen if isinstance(event, ImageReady)]


@pytest.fixture
def long() -> Iterator[Long]:
    one = Long(Patience(floor=0.3, factor=20, first=0.3, asked=0.3))
    yield one
    one.engine.stop()


@pytest.mark.parametrize(("wish", "why"), [("exit", "exit code 7"), ("hang", "has not returned from preprocess")])
def test_a_question_that_ends_the_engine_fails_alone_and_the_job_of_somebody_else_is_begun_anew(
    long: Long, wish: str, why: str
) -> None:
    with pytest.raises(EngineDied, match=f"in the middle of preprocess deadly: .*{why}"):
        long.ask("deadly", wish=wish).result(20)
    assert isinstance(long.finish(), Done)
    begun_anew = "The engine stopped in the middle of something else (preprocess deadly): this job was begun anew."
    assert long.notes == ["it is long", begun_anew]
    assert long.pictures == [0, 1]
    assert long.engine.restarts == 1


def test_what_ended_the_engine_is_not_asked_again_before_the_job_is_over(long: Long) -> None:
    with pytest.raises(EngineDied):
        long.ask("deadly", wish="exit").result(20)
    later = long.ask("deadly")
    assert isinstance(long.finish(), Done)
    assert later.result(20)[0].error is None
    assert long.engine.restarts == 1


def test_a_job_is_begun_anew_once(long: Long) -> None:
    for place, name in enumerate(("one", "two")):
        with pytest.raises(EngineDied, match=f"preprocess {name}"):
            long.ask(name, wish="exit").result(20)
        if not place:
            long.until_begun_anew()
    long.seen += long.harness.until_end()
    assert failure(long.seen)["code"] == "engine_died"
    assert long.pictures == [0]


def test_a_job_that_was_stopped_is_not_begun_anew(long: Long) -> None:
    deadly = long.ask("deadly", wish="hang")
    long.engine.cancel("a", "interrupt")
    long.seen += long.harness.until_end()
    assert long.seen[-1][0] == Done(job_id="a", interrupted=True)
    with pytest.raises(EngineDied):
        deadly.result(20)


def test_questions_that_wait_behind_one_that_ends_the_engine_go_to_the_next(harness: Harness) -> None:
    asked = [harness.engine.ask("route", {"ext": ext, "wish": wish}, {}) for ext, wish in (("a", "exit"), ("b", ""))]
    with pytest.raises(EngineDied, match="in the middle of route a: exit code 7"):
        asked[0].result(20)
    assert asked[1].result(20)[0].body["ext"] == "b"


def test_stopping_settles_every_question() -> None:
    harness = Harness("unusable")
    future = harness.engine.ask("report", {}, {})
    with pytest.raises(AtelierError):
        future.result(20)
    harness.engine.stop()


def test_an_engine_that_announces_its_end_loses_no_job_and_counts_as_no_fall(harness: Harness) -> None:
    assert isinstance(harness.run("a", "leak")[-1][0], Done)
    assert isinstance(harness.run("b", "red")[-1][0], Done)
    assert harness.engine.restarts == 0


def test_the_next_engine_is_told_what_is_held_against_extensions_until_they_are_reloaded(harness: Harness) -> None:
    harness.run("a", "leak")
    assert harness.engine.faults == {"leaky": "left something behind"}
    for job_id in ("b", "c"):
        assert harness.engine.ask("report", {}, {}).result(20)[0].body["heard"][0] == "held: leaky"
        failure(harness.run(job_id, "exit"))
    harness.engine.refresh_extensions(["leaky"])
    assert harness.engine.faults == {}


def test_a_job_that_was_handed_to_an_engine_about_to_end_goes_to_the_next_one(harness: Harness) -> None:
    harness.run("a", "red")
    harness.engine.refresh_extensions()
    assert isinstance(harness.run("b", "red")[-1][0], Done)
    assert harness.engine.restarts == 0


def test_the_engine_after_a_fall_is_told_which_job_died(harness: Harness) -> None:
    failure(harness.run("a", "exit"))
    assert harness.engine.ask("report", {}, {}).result(20)[0].body["heard"] == ["a: engine_died"]
