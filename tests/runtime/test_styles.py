"""Styles are written down, replaced and deleted in files that other programs share."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from webui.prompt.styles import Style, Styles
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.runtime.styles import StyleBook
from webui.schema.errors import AlreadyThere, BadRequest, DiskError, Forbidden, NotFound


@pytest.fixture
def book(tmp_path: Path) -> StyleBook:
    (tmp_path / "models").mkdir()
    return StyleBook(Styles.beside(tmp_path / "models"))


def test_a_style_is_written_as_a1111_writes_it_and_read_back(book: StyleBook, tmp_path: Path) -> None:
    styles = [Style("Ink", 'ink, {prompt}, "fine"', "photo"), Style("Two", "a\nb"), Style("Köln, größer", "", "x")]
    for style in styles:
        book.save(style)
    assert list(book.styles.all().values()) == styles
    path = tmp_path / "styles.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"name": one.name, "prompt": one.prompt, "negative_prompt": one.negative_prompt} for one in styles]
    assert path.read_bytes().startswith(b"\xef\xbb\xbfname,prompt,negative_prompt\r\nInk,")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["models", "styles.csv", "styles.csv.bak"]


def test_the_file_as_it_was_is_kept_beside_it(book: StyleBook, tmp_path: Path) -> None:
    book.save(Style("Ink", "a"))
    before = (tmp_path / "styles.csv").read_bytes()
    book.save(Style("Ink", "b"), replace=True)
    assert (tmp_path / "styles.csv.bak").read_bytes() == before


def test_a_style_is_replaced_where_it_stands_and_only_when_that_is_wanted(book: StyleBook, tmp_path: Path) -> None:
    other = tmp_path / "models" / "styles.csv"
    other.write_text("name,prompt\nInk,old\n", encoding="utf-8")
    with pytest.raises(AlreadyThere, match="'Ink'"):
        book.save(Style("Ink", "new"))
    book.save(Style("Ink", "new"), replace=True)
    assert other.read_text(encoding="utf-8") == "name,prompt\nInk,new\n"
    book.save(Style("Fine", "fine"))
    assert other.read_text(encoding="utf-8") == "name,prompt\nInk,new\nFine,fine\n"
    assert not (tmp_path / "styles.csv").exists()


def test_a_deleted_style_is_in_no_file_any_more(book: StyleBook, tmp_path: Path) -> None:
    for path in (tmp_path / "styles.csv", tmp_path / "models" / "styles.csv"):
        path.write_text("name,prompt\nInk,a\nFine,b\nInk,c\n", encoding="utf-8")
    book.delete("Ink")
    assert list(book.styles.all()) == ["Fine"]
    assert (tmp_path / "styles.csv").read_text(encoding="utf-8") == "name,prompt\nFine,b\n"
    with pytest.raises(NotFound):
        book.delete("Ink")


def test_a_link_stays_a_link_and_rights_stay_as_they_are(book: StyleBook, tmp_path: Path) -> None:
    shared = tmp_path / "a1111" / "styles.csv"
    shared.parent.mkdir()
    shared.write_text("name,prompt\nInk,a\n", encoding="utf-8")
    shared.chmod(0o664)
    (tmp_path / "styles.csv").symlink_to(shared)
    book.save(Style("Fine", "b"))
    assert (tmp_path / "styles.csv").is_symlink()
    assert shared.read_text(encoding="utf-8") == "name,prompt\nInk,a\nFine,b\n"
    assert shared.stat().st_mode & 0o777 == 0o664


def test_a_locked_book_is_not_changed(book: StyleBook, tmp_path: Path) -> None:
    book.save(Style("Ink", "a"))
    before = (tmp_path / "styles.csv").read_bytes()
    book.locked = True
    with pytest.raises(Forbidden, match="can be reached by others"):
        book.save(Style("Fine"))
    with pytest.raises(Forbidden, match="can be reached by others"):
        book.delete("Ink")
    assert (tmp_path / "styles.csv").read_bytes() == before


def test_a_server_that_others_reach_locks_its_styles(tmp_path: Path) -> None:
    from tests.fake_engine import FakeEngine, FakeModels

    folders = {f"{name}_dir": tmp_path / name for name in ("models", "output", "data")}
    with Runtime(Settings(**folders, extensions_locked=True), FakeEngine, FakeModels()) as runtime:
        assert runtime.styles.locked


def test_a_file_that_cannot_be_written_is_told(book: StyleBook, tmp_path: Path) -> None:
    (tmp_path / "styles.csv").mkdir()
    with pytest.raises(DiskError, match=r"styles\.csv cannot be written"):
        book.save(Style("Ink"))


def test_a_style_that_cannot_be_written_changes_nothing(book: StyleBook, tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        book.save(Style("#Ink"))
    assert not (tmp_path / "styles.csv").exists()
