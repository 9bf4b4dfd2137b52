"""A runtime over a fake engine, in a folder of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import FakeEngine, FakeModels
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.schema.requests import Txt2Img
from webui.schema.results import JobView

PATIENCE = 20.0


class House:
    """Starts runtimes over one set of folders, and asks them things that tests ask often."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = FakeModels()
        self.runtime: Runtime | None = None

    def settings(self, **changes: Any) -> Settings:
        folders: dict[str, Any] = {f"{name}_dir": self.root / name for name in ("models", "output", "data")}
        return Settings(**folders, **changes)

    def open(self, settings: dict[str, Any] | None = None, **engine: Any) -> Runtime:
        """Start a runtime; the one before it is closed."""
        self.close()
        options = {"step_seconds": 0.001, **engine}
        self.runtime = Runtime(self.settings(**settings or {}), functools.partial(FakeEngine, **options), self.models)
        return self.runtime

    def close(self) -> None:
        if self.runtime is not None:
            self.runtime.close()
        self.runtime = None


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.close()


@pytest.fixture
def runtime(house: House) -> Runtime:
    return house.open()


def engine_of(runtime: Runtime) -> FakeEngine:
    assert isinstance(runtime.engine, FakeEngine)
    return runtime.engine


def txt2img(prompt: str = "a ball", **fields: Any) -> Txt2Img:
    return Txt2Img(prompt=prompt, **{"steps": 3, **fields})


def views_of(runtime: Runtime, job_id: str, owner: str = "local") -> list[JobView]:
    """Follow a job to its end."""
    views: list[JobView] = []
    with runtime.jobs.subscribe(job_id, owner) as subscription:
        while not views or not views[-1].finished_for_good:
            view = subscription.next(views[-1].cursor if views else None, PATIENCE)
            assert view is not None, "no news for too long"
            views.append(view)
    return views


def finish(runtime: Runtime, job_id: str, owner: str = "local") -> JobView:
    """The job's last view."""
    return views_of(runtime, job_id, owner)[-1]


def wait_until(runtime: Runtime, job_id: str, owner: str = "local", **wanted: Any) -> JobView:
    """The first view seen whose fields are as wanted (or beyond, for numbers)."""
    cursor = None
    with runtime.jobs.subscribe(job_id, owner) as subscription:
        while True:
            view = subscription.next(cursor, PATIENCE)
            assert view is not None, "no news for too long"
            if all(_reached(getattr(view, name), value) for name, value in wanted.items()):
                return view
            assert not view.finished_for_good, f"the job ended before: {view}"
            cursor = view.cursor


def _reached(value: Any, wanted: Any) -> bool:
    return value >= wanted if isinstance(wanted, int) and value is not None else value == wanted
