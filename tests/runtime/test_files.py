"""Pictures in and out: names, owners, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.conftest import House, finish, txt2img
from webui.runtime.inputs import Inputs
from webui.runtime.runtime import Runtime
from webui.schema.errors import BadImage, DiskError, NotFound
from webui.schema.requests import ImageRef


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "inputs")


def test_a_picture_is_named_by_the_sha256_of_its_file(inputs: Inputs) -> None:
    ref = inputs.add(encoded(Image.new("RGB", (20, 10), "red")))
    assert hashlib.sha256(inputs.read(ref)).hexdigest() == ref.sha256
    assert inputs.path(ref).name == f"{ref.sha256}.png"
    assert inputs.size(ref) == (20, 10)


def test_the_same_picture_in_two_formats_is_one_file(inputs: Inputs) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    assert inputs.add(encoded(image)) == inputs.add(encoded(image, "BMP")) == inputs.add(encoded(image))
    assert len(list(inputs.path(ImageRef(sha256="0" * 64)).parent.iterdir())) == 1


def test_transparency_is_kept(inputs: Inputs) -> None:
    image = Image.new("RGBA", (16, 16), (10, 20, 30, 40))
    with Image.open(io.BytesIO(inputs.read(inputs.add(encoded(image))))) as kept:
        assert (kept.mode, kept.getpixel((3, 3))) == ("RGBA", (10, 20, 30, 40))


def test_what_is_no_picture_is_refused_and_leaves_nothing(inputs: Inputs) -> None:
    with pytest.raises(BadImage):
        inputs.add(b"GIF89a and then nonsense")
    assert list(inputs.path(ImageRef(sha256="0" * 64)).parent.glob("*")) == []


def test_a_picture_that_was_never_handed_in_is_not_there(inputs: Inputs) -> None:
    for ask in (inputs.read, inputs.size):
        with pytest.raises(NotFound, match="Choose the picture again"):
            ask(ImageRef(sha256="0" * 64))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="The picture cannot be kept"):
        Inputs(tmp_path / "file" / "inputs").add(encoded(Image.new("RGB", (16, 16))))


def test_files_are_numbered_by_day_and_kind_and_named_by_seed(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(txt2img(seed=40, batch_size=3), "local"))
    paths = [runtime.outputs.get(image.id, "local") for image in view.images]
    assert [path.name for path in paths] == ["00000-40.png", "00001-41.png", "00002-42.png"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", paths[0].parent.name)
    assert paths[0].parent.parent.name == "txt2img-images"


def test_numbers_go_on_after_the_highest_there_is(runtime: Runtime, house: House) -> None:
    first = finish(runtime, runtime.jobs.submit(txt2img(seed=1), "local"))
    folder = runtime.outputs.get(first.images[0].id, "local").parent
    (folder / "00041-7.png").write_bytes(b"made by another program")
    again = finish(runtime, runtime.jobs.submit(txt2img(seed=2), "local"))
    assert runtime.outputs.get(again.images[0].id, "local").name == "00042-2.png"
    assert (folder / "00041-7.png").read_bytes() == b"made by another program"


def test_a_picture_deleted_by_hand_is_said_to_be_gone(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    runtime.outputs.get(view.images[0].id, "local").unlink()
    with pytest.raises(NotFound, match="moved or deleted"):
        runtime.outputs.get(view.images[0].id, "local")
    assert runtime.jobs.view(view.id, "local").images == view.images


def test_recent_pictures_come_newest_first_page_by_page(runtime: Runtime) -> None:
    for _ in range(3):
        finish(runtime, runtime.jobs.submit(txt2img(seed=1, batch_size=3, steps=1), "local"))
    everything = runtime.outputs.recent("local", limit=100)
    page = runtime.outputs.recent("local", limit=4)
    rest = runtime.outputs.recent("local", limit=100, before=page[-1].id)
    assert [image.index for image in everything] == [2, 1, 0] * 3
    assert page + rest == everything


def test_only_old_leftovers_of_a_killed_server_are_removed(house: House) -> None:
    day = house.root / "output" / "txt2img-images" / "2026-01-31"
    day.mkdir(parents=True)
    old, young, users = day / ".old.tmp", day / ".young.tmp", day / "mine.tmp"
    for path in (old, young, users):
        path.write_bytes(b"")
    for path in (old, users):
        os.utime(path, (time.time() - 3600,) * 2)
    house.open()
    assert [path.exists() for path in (old, young, users)] == [False, True, True]
