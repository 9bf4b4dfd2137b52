"""Pictures are written whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from webui.images.save import next_name, png_bytes, save_png
from webui.schema.errors import DiskError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def test_a_png_comes_back_exactly_with_its_text(tmp_path):
    text = "ein Bär, 赤い球\nSteps: 20"
    save_png(PICTURE, tmp_path / "new" / "a.png", {"parameters": text, "more": "x\0y"})
    with Image.open(tmp_path / "new" / "a.png") as found:
        assert found.text == {"parameters": text, "more": "xy"}
        assert np.array_equal(found, PICTURE)


def test_the_same_picture_is_the_same_file(tmp_path):
    assert png_bytes(PICTURE, {"parameters": "x"}) == png_bytes(PICTURE.copy(), {"parameters": "x"})


def test_nothing_but_the_picture_is_left_in_the_folder(tmp_path):
    save_png(PICTURE, tmp_path / "a.png")
    save_png(PICTURE, tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.skipif(os.name == "nt", reason="rights are of another kind there")
def test_files_have_the_rights_that_any_program_would_give_them(tmp_path):
    (tmp_path / "plain").touch()
    save_png(PICTURE, tmp_path / "a.png")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_a_disk_error_and_leaves_nothing(tmp_path, monkeypatch, call):
    (tmp_path / "a.png").write_bytes(b"old")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"webui.images.save.os.{call}", fail)
    with pytest.raises(DiskError, match="No space left on device") as caught:
        save_png(PICTURE, tmp_path / "a.png")
    assert caught.value.cure
    assert os.listdir(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_a_folder_that_is_a_file_is_a_disk_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError):
        save_png(PICTURE, tmp_path / "file" / "a.png")


def test_a_kill_at_any_moment_leaves_no_torn_picture(tmp_path):
    """A process that saves without end is killed; whatever has a name ending in .png is whole."""
    code = f"""
        import itertools
        from pathlib import Path
        from PIL import Image
        from webui.images.save import save_png
        image = Image.effect_noise((300, 300), 50)
        print("ready", flush=True)
        for index in itertools.count():
            save_png(image, Path({str(tmp_path)!r}) / f"{{index:05}}-1.png")
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while len(list(tmp_path.glob("*.png"))) < 5:
        assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_names_count_on_from_the_largest_number(tmp_path):
    folder = tmp_path / "day"
    assert next_name(folder, 7) == "00000-7.png"
    folder.mkdir()
    assert next_name(folder, 7) == "00000-7.png"
    for name in ("00000-1.png", "00041-9.png", "00007-9.jpg", "grid-0099.png", "100-1.png", ".00050-1.png.tmp"):
        (folder / name).touch()
    assert next_name(folder, 4294967295) == "00042-4294967295.png"
    (folder / "99999-1.png").touch()
    assert next_name(folder, 1) == "100000-1.png"
    (folder / "100000-1.png").touch()
    assert next_name(folder, 1) == "100001-1.png"
