"""Extensions in the real engine process: what kills or hangs it costs one job, and questions pass long jobs."""

from __future__ import annotations

import hashlib
import io
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.ext.folders import write_extension
from tests.ext.studio import PLAIN
from webui.engine.client import EngineProcess
from webui.engine.spawn import EngineOptions
from webui.engine.watchdog import Patience
from webui.ext.state import ExtState
from webui.schema.errors import EngineDied
from webui.schema.events import Done, Event, Failed, ImageReady, Note, Progress
from webui.schema.requests import Txt2Img

START = 240
ENDINGS = """
import os, time

log = {log!r}

def before_step(s):
    wish = s.p.job.request.prompt
    if wish == "kill": os.kill(os.getpid(), 9)
    if wish == "hang": time.sleep(3600)
    if wish == "patch": __import__("torch").nn.functional.silu = lambda x, inplace=False: x

def job_done(job, error):
    with open(log, "a") as file: file.write(f"{{job.id}} {{type(error).__name__}}\\n")
"""
MAPS = """
import os, time

def negative(image): return 255 - image

def stuck(image): time.sleep(3600)

def deadly(image): os._exit(3)
"""
TABLES = """
[[preprocessor]]
id = "negative"
entry = "main:negative"
resolution = false

[[preprocessor]]
id = "stuck"
entry = "main:stuck"
resolution = false

[[preprocessor]]
id = "deadly"
entry = "main:deadly"
resolution = false
"""


class Process:
    """The engine process, with these two extensions allowed."""

    def __init__(self, models_dir: Path, home: Path) -> None:
        self.log = home / "log"
        folder, data = home / "extensions", home / "data"
        write_extension(
            folder, "endings", ENDINGS.format(log=str(self.log)), head='hooks = ["before_step", "job_done"]'
        )
        write_extension(folder, "maps", MAPS, tables=TABLES)
        for id in ("endings", "maps"):
            ExtState(data).enable(id, allow=True)
        options = EngineOptions(
            models_dir, device="cpu", extensions=(folder,), data_dir=data,
            patience=Patience(floor=10, factor=20, first=60, asked=6, loading=600),
        )  # fmt: skip
        self.events: queue.Queue[tuple[Event, bytes | None]] = queue.Queue()
        self.engine = EngineProcess(options, lambda event, blob: self.events.put((event, blob)))
        self.engine.start()

    def submit(self, job_id: str, **fields: Any) -> None:
        self.engine.submit(job_id, Txt2Img(**{**PLAIN, **fields}), {})

    def until(self, *kinds: type) -> tuple[Any, bytes | None]:
        while True:
            event, blob = self.events.get(timeout=START)
            if isinstance(event, kinds):
                return event, blob

    def rest(self) -> tuple[list[tuple[int, bytes | None]], list[str]]:
        """(index, pixels) of the pictures, and the notes, up to the end of a job that must end well."""
        pictures, notes = [], []
        while True:
            event, blob = self.until(ImageReady, Note, Done, Failed)
            if isinstance(event, ImageReady):
                pictures.append((event.index, blob))
            elif isinstance(event, Note):
                notes.append(event.message)
            else:
                assert isinstance(event, Done), event
                return pictures, notes

    def report(self, id: str) -> tuple[str, str]:
        """State and reason of an extension."""
        answer, _frames = self.engine.ask("report", {}, {}).result(START)
        return next((one["state"], one["reason"]) for one in answer.body["extensions"] if one["id"] == id)

    def draw(self, job_id: str) -> bytes | None:
        self.submit(job_id)
        pixels = self.until(ImageReady)[1]
        assert isinstance(self.until(Done, Failed)[0], Done)
        return pixels


@pytest.fixture(scope="module")
def process(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    one = Process(tiny_models, tmp_path_factory.mktemp("process"))
    yield one
    one.engine.stop()


def picture() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(data, "PNG")
    return data.getvalue()


def question(preprocessor: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    png = picture()
    ref = {"sha256": hashlib.sha256(png).hexdigest()}
    return {"unit": {"preprocessor": preprocessor}, "image": ref}, {ref["sha256"]: png}


def test_an_extension_that_kills_its_process_costs_one_job_which_is_told_afterwards(process: Process) -> None:
    plain = process.draw("before")
    process.submit("doomed", prompt="kill")
    failed = process.until(Done, Failed)[0]
    assert failed.error["code"] == "engine_died"
    assert process.draw("after") == plain
    assert "doomed EngineDied" in process.log.read_text().splitlines()


def test_an_extension_that_hangs_is_ended_by_the_watchdog(process: Process) -> None:
    plain = process.draw("before hang")
    process.submit("hanging", prompt="hang")
    assert "has not returned" in process.until(Done, Failed)[0].error["message"]
    assert process.draw("after hang") == plain


def test_an_extension_that_patches_torch_costs_one_restart_and_runs_no_more_until_it_is_reloaded(
    process: Process,
) -> None:
    plain, falls = process.draw("before patch"), process.engine.restarts
    process.submit("patching", prompt="patch")
    assert isinstance(process.until(Done, Failed)[0], Done)
    reason = process.engine.faults["endings"]
    assert "torch.nn.functional.silu" in reason
    for job_id in ("after patch", "again"):
        process.submit(job_id)
        error = process.until(Done, Failed)[0].error
        assert error["message"] == f'Extension "endings" {reason}.'
    assert process.report("endings") == ("failed", reason)
    process.engine.refresh_extensions(["endings"])
    assert process.draw("after reload") == plain
    assert process.engine.faults == {}
    assert process.report("endings") == ("active", "")
    assert process.engine.restarts == falls


def test_a_map_is_made_while_a_long_job_of_somebody_else_runs(process: Process) -> None:
    process.submit("long", steps=1000)
    process.until(Progress)
    answer, frames = process.engine.ask("preprocess", *question("negative")).result(60)
    assert answer.sizes == ((8, 8),)
    assert frames[0] == bytes(255 - value for value in range(192))
    assert process.engine._job is not None
    process.engine.cancel("long", "interrupt")
    assert process.until(Done, Failed)[0].interrupted


TWO_PICTURES = {"n_iter": 2, "steps": 60}


@pytest.fixture(scope="module")
def undisturbed(process: Process) -> list[tuple[int, bytes | None]]:
    process.submit("undisturbed", **TWO_PICTURES)
    return process.rest()[0]


@pytest.mark.parametrize(("preprocessor", "why"), [("deadly", "exit code 3"), ("stuck", "has not returned")])
def test_a_map_that_kills_or_hangs_the_engine_fails_alone_and_the_long_job_of_somebody_else_is_done(
    process: Process, undisturbed: list[tuple[int, bytes | None]], preprocessor: str, why: str
) -> None:
    falls = process.engine.restarts
    process.submit(f"beside {preprocessor}", **TWO_PICTURES)
    first, pixels = process.until(ImageReady)
    asked = process.engine.ask("preprocess", *question(preprocessor))
    pictures, notes = process.rest()
    with pytest.raises(EngineDied, match=f"in the middle of preprocess {preprocessor}: .*{why}"):
        asked.result(0)
    assert [(first.index, pixels), *pictures] == undisturbed
    told = f"The engine stopped in the middle of something else (preprocess {preprocessor}): this job was begun anew."
    assert notes == [told]
    assert process.engine.restarts == falls + 1


def test_a_question_that_hangs_is_ended_as_a_call_is(process: Process) -> None:
    with pytest.raises(EngineDied, match="preprocess stuck"):
        process.engine.ask("preprocess", *question("stuck")).result(START)
    assert process.draw("after stuck") is not None
