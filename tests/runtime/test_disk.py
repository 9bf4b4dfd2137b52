"""When the disk refuses: the job says so, the picture can still be had, and the next job works."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fake_engine import picture_of
from tests.runtime.conftest import House, finish, txt2img
from webui.images import save
from webui.runtime.database import VERSION, Database
from webui.runtime.folder_lock import FolderInUse
from webui.runtime.runtime import Runtime
from webui.schema.errors import DiskError
from webui.schema.requests import parse_request


def full(*arguments: Any, **named: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_fails_the_job_and_keeps_its_pictures_for_download(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        outputs = str(runtime.settings.output_dir)
        real = save.write_whole
        refuse = lambda path, data: full() if str(path).startswith(outputs) else real(path, data)  # noqa: E731
        patch.setattr(save, "write_whole", refuse)
        view = finish(runtime, runtime.jobs.submit(txt2img(batch_size=2), "local"))
    assert view.error is not None
    assert (view.state, view.error["code"]) == ("failed", "disk")
    assert "was not saved: No space left on device" in view.error["message"]
    assert [note.startswith(f"Picture {index}: ") for index, note in enumerate(view.notes, 1)] == [True, True]
    assert [image.index for image in view.images] == [0, 1]
    for image in view.images:
        with Image.open(runtime.outputs.get(image.id, "local")) as kept:
            assert np.array_equal(np.asarray(kept), picture_of(parse_request(view.request), image.index))
    again = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert again.state == "done"
    assert runtime.outputs.get(again.images[0].id, "local").is_relative_to(runtime.settings.output_dir)


def test_pictures_that_nothing_takes_are_said_to_be_lost(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(save, "write_whole", full)
        view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert (view.state, view.images) == ("failed", ())
    assert view.notes[0].startswith("Picture 1 is lost: ")


def test_an_output_folder_that_is_a_file_is_told(house: House) -> None:
    (house.root / "output").write_text("in the way")
    runtime = house.open()
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert view.error is not None
    assert (view.state, view.error["code"]) == ("failed", "disk")
    assert len(view.images) == 1


def stop_writing(runtime: Runtime) -> None:
    """From now on the database refuses to grow, as on a full disk."""
    with sqlite3.connect(runtime.settings.database) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    runtime._database._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_job_whose_record_cannot_be_written_is_refused(runtime: Runtime) -> None:
    finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    stop_writing(runtime)
    with pytest.raises(DiskError, match="database or disk is full"):
        runtime.jobs.submit(txt2img("long " * 3000), "local")
    assert len(runtime.jobs.list("local")) == 1


def test_a_job_whose_end_cannot_be_recorded_still_ends_with_its_picture(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = house.open(step_seconds=0.05)
    job_id = runtime.jobs.submit(txt2img(), "local")
    refuse = lambda *arguments: (_ for _ in ()).throw(DiskError("full", "Free some space."))  # noqa: E731
    monkeypatch.setattr(runtime._ledger._records, "save", refuse)
    monkeypatch.setattr(runtime._ledger._records, "add_image", refuse)
    view = finish(runtime, job_id)
    assert (view.state, len(view.images)) == ("done", 1)
    assert runtime.jobs.view(job_id, "local") == view
    assert runtime.outputs.get(view.images[0].id, "local").is_file()


def test_a_damaged_database_is_set_aside_and_the_server_starts(house: House) -> None:
    path = house.settings().database
    path.parent.mkdir()
    path.write_bytes(b"no database at all " * 1000)
    runtime = house.open()
    assert finish(runtime, runtime.jobs.submit(txt2img(), "local")).state == "done"
    (kept,) = path.parent.glob("atelier.db.damaged-*")
    assert kept.read_bytes() == b"no database at all " * 1000


def test_a_database_of_a_newer_version_is_left_alone(house: House, tmp_path: Path) -> None:
    path = house.settings().database
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(DiskError, match="written by a newer version"):
        house.open()


def test_a_data_folder_that_cannot_be_used_is_told(house: House) -> None:
    (house.root / "data").write_text("in the way")
    with pytest.raises(DiskError, match=r"data folder .* cannot be used"):
        house.open()


def test_two_servers_cannot_share_a_data_folder(house: House) -> None:
    house.open()
    other = House(house.root)
    with pytest.raises(FolderInUse, match="in use by another server"):
        other.open()
    house.close()
    other.open()
    other.close()
