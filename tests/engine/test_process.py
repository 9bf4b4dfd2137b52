"""The real engine process on a small random model: what a browser relies on, without the browser."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import write_tiny_checkpoint
from webui.engine.client import EngineProcess
from webui.engine.spawn import EngineOptions
from webui.schema.events import Done, Event, Failed, ImageReady, Progress
from webui.schema.requests import Txt2Img

START = 120
"""Seconds that a busy machine may need to start the process."""


class Process:
    """The engine process and its events, one after another."""

    def __init__(self, models_dir: Path) -> None:
        self.events: queue.Queue[tuple[Event, bytes | None]] = queue.Queue()
        options = EngineOptions(models_dir, device="cpu")
        self.engine = EngineProcess(options, lambda event, blob: self.events.put((event, blob)))
        self.engine.start()

    def submit(self, job_id: str, **fields: Any) -> None:
        request = Txt2Img(**{"model": "tiny", "seed": 1, "subseed": 0, "width": 64, "height": 48, "steps": 3, **fields})
        self.engine.submit(job_id, request, {})

    def until(self, *kinds: type) -> tuple[Any, bytes | None]:
        """The next event of one of these kinds."""
        while True:
            event, blob = self.events.get(timeout=START)
            if isinstance(event, kinds):
                return event, blob


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors", seed=1)
    one = Process(folder)
    yield one
    one.engine.stop()


def test_a_job_gives_the_pixels_of_its_picture(process: Process) -> None:
    process.submit("plain")
    event, pixels = process.until(ImageReady)
    assert (event.width, event.height, event.seed) == (64, 48, 1)
    assert pixels is not None
    assert len(pixels) == 64 * 48 * 3
    assert isinstance(process.until(Done, Failed)[0], Done)


def test_an_interrupt_from_the_web_process_stops_a_long_job(process: Process) -> None:
    process.submit("long", steps=1000)
    step = process.until(Progress)[0].step
    process.engine.cancel("long", "interrupt")
    last = process.until(Done, Failed)[0]
    assert isinstance(last, Done)
    assert last.interrupted
    assert step < 1000


def test_a_request_that_breaks_its_bounds_fails_alone(process: Process) -> None:
    request = Txt2Img(model="tiny", seed=1, subseed=0, width=64, height=48).model_copy(update={"width": 3})
    process.engine.submit("narrow", request, {})
    failed = process.until(Done, Failed)[0]
    assert failed.error["code"] == "bad_request"
    assert "Width" in failed.error["message"]
    assert process.engine.restarts == 0


def test_a_process_killed_in_the_middle_of_a_job_fails_it_with_the_reason_and_the_next_job_works(
    process: Process,
) -> None:
    process.submit("doomed", steps=1000)
    process.until(Progress)
    child = process.engine._supervisor._child
    assert child is not None
    child.kill()
    failed = process.until(Done, Failed)[0]
    assert isinstance(failed, Failed)
    assert failed.error["code"] == "engine_died"
    assert "SIGKILL" in failed.error["message"]
    process.submit("next")
    assert isinstance(process.until(Done, Failed)[0], Done)
