"""What comes with the program is known by the content of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ext.folders import write_extension
from webui.ext.bundled import code_digest, file_hashes, is_bundled, read_bundled, write_bundled
from webui.ext.discover import HOME


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_extension(tmp_path, "canny", "def canny(image): return image\n")


def test_a_listed_folder_is_bundled_until_a_file_changes(folder: Path, tmp_path: Path):
    write_bundled({"canny": folder}, tmp_path / "list.json")
    listed = read_bundled(tmp_path / "list.json")["canny"]
    assert is_bundled(folder, listed)
    (folder / "main.py").write_text("import os\n")
    assert not is_bundled(folder, listed)


def test_a_file_more_or_less_makes_it_somebody_elses(folder: Path):
    listed = file_hashes(folder)
    (folder / "more.py").write_text("")
    assert not is_bundled(folder, listed)
    (folder / "more.py").unlink()
    (folder / "main.py").unlink()
    assert not is_bundled(folder, listed)


def test_what_python_leaves_behind_does_not_count(folder: Path):
    listed = file_hashes(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"\0")
    assert is_bundled(folder, listed)


def test_line_ends_of_texts_do_not_count(folder: Path):
    listed = file_hashes(folder)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert is_bundled(folder, listed)


def test_an_id_that_is_not_listed_is_not_bundled(folder: Path):
    assert not is_bundled(folder, None)


def test_the_digest_of_the_code_changes_with_any_edit(folder: Path):
    before = code_digest(folder)
    (folder / "main.py").write_text("def canny(image): return Image\n")
    assert code_digest(folder) != before


def test_the_list_is_that_of_the_extensions_folder():
    """`python launch.py ext check --bundle` writes it."""
    folders = {folder.name: folder for folder in HOME.iterdir() if (folder / "extension.toml").is_file()}
    assert {id: dict(hashes) for id, hashes in read_bundled().items()} == {
        id: dict(file_hashes(folder)) for id, folder in sorted(folders.items())
    }
