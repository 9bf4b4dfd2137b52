"""Pictures to which an extension gave a rank end in its order, in jobs and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fake_engine import FakeEngine, FakeModels
from webui.engine.api import _Collector
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.schema.events import Event, ImageReady
from webui.schema.requests import Txt2Img
from webui.schema.results import ModelInfo

RANKS = (0.2, None, 0.9, 0.5)


def ranked(event: Event) -> Event:
    return event.model_copy(update={"rank": RANKS[event.index]}) if isinstance(event, ImageReady) else event


def test_a_job_ends_with_its_best_pictures_first(tmp_path: Path):
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("models", "output", "data")}

    def engine(on_event: Any) -> FakeEngine:
        return FakeEngine(lambda event, blob: on_event(ranked(event), blob), step_seconds=0.001)

    with Runtime(Settings(**folders), engine, FakeModels()) as runtime:
        id = runtime.jobs.submit(Txt2Img(prompt="x", steps=1, width=64, height=64, n_iter=4, seed=1), owner="me")
        view = runtime.jobs.view(id, "me")
        while not view.finished_for_good:
            view = runtime.jobs.wait(id, "me", view.cursor, timeout=20) or view
    assert [image.index for image in view.images] == [2, 3, 0, 1]


def test_the_command_line_saves_the_best_picture_first():
    made = _Collector(Txt2Img(), ModelInfo(name="m", file="m"))
    for index in range(4):
        event = ImageReady(
            job_id="1", index=index, seed=index, subseed=0, width=1, height=1, prompt="", negative_prompt="",
            rank=RANKS[index],
        )  # fmt: skip
        made(event, b"\0\0\0")
    assert [image.seed for image in made.made.images] == [2, 3, 0, 1]
