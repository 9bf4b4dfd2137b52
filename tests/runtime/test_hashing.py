"""The sha256 of model files: of the model in a picture's text at once, of all others in the background."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_engine import TOYBOX, FakeModels
from tests.networks.files import header_only, kohya
from tests.runtime.conftest import PATIENCE, House, finish, txt2img
from tests.support import write_tiny_checkpoint
from webui.checkpoints.digests import WEIGHTS
from webui.networks.library import Library
from webui.runtime.hashing import Hashing
from webui.schema.errors import ModelError

UNKNOWN = TOYBOX.model_copy(update={"sha256": None})
LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


class OneFile(FakeModels):
    """One model file."""

    def __init__(self, file: Path) -> None:
        super().__init__(UNKNOWN)
        self.file = file

    def path(self, name: str) -> Path:
        return self.file

    def sha256(self, name: str, cancelled: Callable[[], bool]) -> str | None:
        return sha256(self.file)


@pytest.fixture
def models(tmp_path: Path) -> OneFile:
    file = tmp_path / "toybox.safetensors"
    file.write_bytes(b"weights")
    return OneFile(file)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three files of three kinds, the checkpoint the largest, and a pickle."""
    folder = tmp_path / "models"
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    header_only(folder / "Lora" / "ink.safetensors", kohya([LAYER], 320, 768))
    header_only(folder / "embeddings" / "ball.safetensors", {"emb_params": (2, 768)})
    (folder / "Lora" / "old.pt").write_bytes(b"PK\x03\x04")
    return Library.of(folder, tmp_path / "data")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def test_all_files_are_read_once_for_good(library: Library, tmp_path: Path) -> None:
    hashing = Hashing(library.checkpoints, library, later=0)
    until(lambda: hashing.progress().state == "done")
    hashing.close()
    done = hashing.progress()
    assert (done.files, done.files_done, done.bytes_done, done.current) == (3, 3, done.bytes, "")
    items = [item for item in library.items() if not item.error]
    assert [item.sha256 for item in items] == [sha256(item.path) for item in items]
    library.close()
    again = Library.of(library.places, tmp_path / "data")
    assert [item.sha256 for item in again.items() if not item.error] == [item.sha256 for item in items]
    lora = next(item for item in items if item.kind == "lora")
    assert (
        again.memory.cache.digest(str(lora.path), WEIGHTS, lora.stamp[:2])
        == hashlib.sha256(
            lora.path.read_bytes()[8 + int.from_bytes(lora.path.read_bytes()[:8], "little") :]
        ).hexdigest()
    )


def test_checkpoints_that_were_used_come_first(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_checkpoint(library.places.home("checkpoint") / "aaa.safetensors")
    order: list[str] = []
    monkeypatch.setattr("webui.runtime.hashing.read_digests", lambda path, *rest: order.append(path.stem))
    hashing = Hashing(library.checkpoints, library, used=lambda: ["tiny"], later=0)
    until(lambda: hashing.progress().state == "done")
    hashing.close()
    assert order[:2] == ["tiny", "aaa"]
    assert sorted(order[2:]) == ["ball", "ink"]


def test_a_file_that_comes_later_is_read_when_it_is_told(library: Library) -> None:
    hashing = Hashing(library.checkpoints, library, later=0)
    until(lambda: hashing.progress().state == "done")
    file = header_only(library.places.home("lora") / "sea.safetensors", kohya([LAYER], 320, 768))
    hashing.again()
    until(lambda: hashing.progress().files_done == 4)
    hashing.close()
    assert next(item.sha256 for item in library.items() if item.name == "sea") == sha256(file)


def test_paused_it_reads_nothing_but_what_a_job_needs(library: Library) -> None:
    hashing = Hashing(library.checkpoints, library, later=3600)
    hashing.pause()
    assert hashing.progress().state == "paused"
    info = hashing.complete(library.checkpoints.find("tiny")).result(PATIENCE)
    assert info.sha256 == sha256(library.checkpoints.path("tiny"))
    assert [item.sha256 for item in library.items(["lora", "embedding"])] == [None, None, None]
    hashing.close()


def test_a_pause_stops_in_the_middle_of_a_file_and_it_goes_on(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.checkpoints.digests.BLOCK", 1000)
    stopped = threading.Event()
    hashing = Hashing(library.checkpoints, library, busy=lambda: stopped.set() or False, later=0)
    assert stopped.wait(PATIENCE)
    hashing.pause()
    until(lambda: hashing.progress().state == "paused")
    time.sleep(0.05)
    before = hashing.progress()
    time.sleep(0.05)
    assert hashing.progress() == before
    hashing.resume()
    until(lambda: hashing.progress().state == "done")
    hashing.close()


def test_a_file_that_cannot_be_read_is_left_out(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, *rest: object) -> None:
        raise ModelError(f"{path.name} cannot be read.", "Check the disk.")

    monkeypatch.setattr("webui.runtime.hashing.read_digests", broken)
    hashing = Hashing(library.checkpoints, library, later=0)
    until(lambda: hashing.progress().state == "done")
    hashing.close()
    assert {item.sha256 for item in library.items()} == {None}


def test_an_error_that_nobody_thought_of_keeps_no_job_waiting(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = library.checkpoints.find("tiny")
    monkeypatch.setattr(library, "items", lambda: 1 / 0)
    hashing = Hashing(library.checkpoints, library, later=0)
    until(lambda: hashing.progress().state == "done")
    with monkeypatch.context() as broken:
        broken.setattr(library.checkpoints, "sha256", lambda *_given: 1 / 0)
        assert hashing.complete(info).result(PATIENCE) == info
    assert hashing.complete(info).result(PATIENCE).sha256 == sha256(library.checkpoints.path("tiny"))
    hashing.close()


def test_without_a_library_only_what_jobs_need_is_read(library: Library) -> None:
    hashing = Hashing(library.checkpoints, later=0)
    assert hashing.complete(library.checkpoints.find("tiny")).result(PATIENCE).sha256
    hashing.again()
    assert hashing.progress().state == "off"
    hashing.close()


def test_the_hash_stands_in_the_text_of_the_first_picture(house: House, models: OneFile) -> None:
    house.models = models
    runtime = house.open()
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert f"Model hash: {hashlib.sha256(b'weights').hexdigest()[:10]}, Model: toybox" in view.images[0].infotext


def test_a_picture_does_not_wait_for_a_hash_that_fails(house: House, models: OneFile) -> None:
    def broken(name: str, cancelled: Callable[[], bool]) -> str | None:
        raise ModelError("toybox.safetensors cannot be read.", "Check the disk.")

    models.sha256 = broken  # type: ignore[method-assign]
    house.models = models
    runtime = house.open()
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert view.state == "done"
    assert "Model: toybox" in view.images[0].infotext
    assert "Model hash" not in view.images[0].infotext


def test_closing_gives_up_what_is_being_read(house: House, models: OneFile) -> None:
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


def test_the_checkpoints_of_jobs_are_known_the_last_one_first(house: House) -> None:
    other = TOYBOX.model_copy(update={"name": "other", "file": "other.safetensors"})
    house.models = FakeModels(TOYBOX, other)
    runtime = house.open()
    for model in ("toybox", "other", "toybox"):
        finish(runtime, runtime.jobs.submit(txt2img(model=model), "local"))
    assert runtime._ledger._records.used_models() == ["toybox", "other"]
