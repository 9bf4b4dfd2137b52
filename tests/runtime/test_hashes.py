"""The hash of the model in a picture's text: read once per file, in the background."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_engine import TOYBOX, FakeModels
from tests.runtime.conftest import House, finish, txt2img
from webui.runtime.database import Database
from webui.runtime.hashes import Hashes
from webui.runtime.records import Records
from webui.schema.errors import ModelError
from webui.schema.results import ModelInfo

UNKNOWN = TOYBOX.model_copy(update={"sha256": None})


class CountingModels(FakeModels):
    """One model file, and how often it was read."""

    def __init__(self, file: Path) -> None:
        super().__init__(UNKNOWN)
        self.file = file
        self.reads = 0

    def path(self, name: str) -> Path:
        return self.file

    def sha256(self, name: str, cancelled: Callable[[], bool]) -> str | None:
        self.reads += 1
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@pytest.fixture
def models(tmp_path: Path) -> CountingModels:
    file = tmp_path / "toybox.safetensors"
    file.write_bytes(b"weights")
    return CountingModels(file)


def complete(models: CountingModels, folder: Path) -> ModelInfo:
    """What a server that starts now says of the model."""
    database = Database(folder / "hashes.db")
    hashes = Hashes(models, Records(database))
    info = hashes.complete(UNKNOWN).result(10)
    hashes.close()
    database.close()
    return info


def test_a_file_is_read_once_over_all_starts_until_it_changes(models: CountingModels, tmp_path: Path) -> None:
    for _ in range(3):
        assert complete(models, tmp_path).sha256 == hashlib.sha256(b"weights").hexdigest()
    assert models.reads == 1
    models.file.write_bytes(b"other weights")
    assert complete(models, tmp_path).sha256 == hashlib.sha256(b"other weights").hexdigest()
    assert models.reads == 2


def test_a_file_that_cannot_be_read_has_no_hash(models: CountingModels, tmp_path: Path) -> None:
    models.file.unlink()
    assert complete(models, tmp_path) == UNKNOWN


def test_the_hash_stands_in_the_text_of_the_first_picture(house: House, models: CountingModels) -> None:
    house.models = models
    runtime = house.open()
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert f"Model hash: {hashlib.sha256(b'weights').hexdigest()[:10]}, Model: toybox" in view.images[0].infotext


def test_a_picture_does_not_wait_for_a_hash_that_fails(house: House, models: CountingModels) -> None:
    def broken(name: str, cancelled: Callable[[], bool]) -> str | None:
        raise ModelError("toybox.safetensors cannot be read.", "Check the disk.")

    models.sha256 = broken  # type: ignore[method-assign]
    house.models = models
    runtime = house.open()
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert view.state == "done"
    assert "Model: toybox" in view.images[0].infotext
    assert "Model hash" not in view.images[0].infotext


def test_closing_gives_up_what_is_being_read(house: House, models: CountingModels) -> None:
    reading = threading.Event()

    def endless(name: str, cancelled: Callable[[], bool]) -> str | None:
        reading.set()
        while not cancelled():
            pass
        return None

    models.sha256 = endless  # type: ignore[method-assign]
    house.models = models
    runtime = house.open()
    runtime.jobs.submit(txt2img(steps=1000), "local")
    assert reading.wait(10)
    house.close()
