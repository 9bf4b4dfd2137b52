"""The whole runtime over real folders, without a model in them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine
from tests.runtime.conftest import House, engine_of, finish, txt2img
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.schema.errors import NotFound


def test_without_a_model_every_job_is_refused_with_the_cure(tmp_path: Path) -> None:
    settings = Settings(models_dir=tmp_path / "models", output_dir=tmp_path / "out", data_dir=tmp_path / "data")
    with Runtime(settings, FakeEngine) as runtime:
        assert runtime.catalogue.list() == []
        with pytest.raises(NotFound, match="no usable model"):
            assert runtime.default_model
        with pytest.raises(NotFound, match="no usable model"):
            runtime.jobs.submit(txt2img(), "local")


def test_everything_ends_with_the_runtime(house: House) -> None:
    before = threading.active_count()
    runtime = house.open()
    finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    house.close()
    assert threading.active_count() == before


def test_folders_that_are_not_there_are_made(house: House) -> None:
    runtime = house.open()
    finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert runtime.settings.output_dir.is_dir()
    assert runtime.settings.database.is_file()


def test_the_engine_is_known_by_its_interface(house: House) -> None:
    runtime = house.open(start_seconds=60)
    assert (runtime.engine.ready, runtime.engine.message) == (False, "The engine is starting.")
    assert engine_of(runtime).running is None
