"""`launch.py ext`: what is there, in which order, and changing it, with a question before anything that matters."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ext.folders import write_extension
from webui import cli
from webui.ext import command
from webui.ext.state import ExtState

Ext = Callable[..., int]


@pytest.fixture
def ext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ext:
    """Runs `ext` in folders of its own; answer: what the user says to a question."""
    monkeypatch.setattr(command, "HOME", tmp_path / "home")
    asked: list[str] = []

    def run(*words: str, answer: bool | None = None) -> int:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        parsed = parser.parse_args(
            [words[0], "--extensions-dir", str(tmp_path / "more"), "--data-dir", str(tmp_path / "data"), *words[1:]]
        )
        return command.run(parsed, None if answer is None else lambda question: asked.append(question) or answer)

    run.asked = asked  # type: ignore[attr-defined]
    return run


def test_the_list_names_state_and_reason(ext: Ext, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_extension(tmp_path / "more", "theirs")
    (tmp_path / "more" / "alien").mkdir()
    assert ext("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "alien  invalid: There is no extension.toml. Extensions of other programs do not work here.  (third party)",
        "theirs 1.0.0  disabled: it does not come with the program and nobody has allowed it yet  (third party)",
    ]


def test_hooks_are_listed_in_the_order_in_which_they_run(ext: Ext, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_extension(tmp_path / "more", "aa", head='hooks = ["before_unet"]', tables="[order]\norder = 1")
    write_extension(tmp_path / "more", "bb", head='hooks = ["before_unet", "job_done"]')
    for id in ("aa", "bb"):
        ext("enable", id, answer=True)
    capsys.readouterr()
    ext("list", "--hooks")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "setup(app)  -"
    assert "before_unet(c)  bb, aa" in lines
    assert lines[-1] == "job_done(job, error)  bb"


def test_third_party_code_is_switched_on_after_a_question(ext: Ext, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_extension(tmp_path / "more", "theirs")
    with pytest.raises(command.BadRequest, match="Nothing was done"):
        ext("enable", "theirs", answer=False)
    assert not ExtState(tmp_path / "data").choices().of("theirs").allowed
    assert ext("enable", "theirs", answer=True) == 0
    assert "can do anything that you can do" in ext.asked[-1]  # type: ignore[attr-defined]
    assert capsys.readouterr().out == "theirs 1.0.0  ready  (third party)\n"
    assert ext("disable", "theirs") == 0
    assert ext("enable", "theirs") == 0  # allowed once


def test_without_a_terminal_the_answer_is_no(ext: Ext, tmp_path: Path):
    write_extension(tmp_path / "more", "theirs")
    with pytest.raises(command.BadRequest, match="Nothing was done"):
        ext("enable", "theirs")
    assert ext("enable", "theirs", "--yes") == 0


def test_what_is_installed_is_off_and_can_be_removed(ext: Ext, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_extension(tmp_path / "source", "theirs")
    assert ext("install", str(source)) == 0
    assert capsys.readouterr().out == "Theirs 1.0.0 is installed, and off. To switch it on: ext enable theirs\n"
    ext("enable", "theirs", "--yes")
    assert ext("remove", "theirs", answer=True) == 0
    assert not (tmp_path / "more" / "theirs").exists()
    assert not ExtState(tmp_path / "data").choices().of("theirs").allowed


def test_check_fails_where_something_is_wrong(ext: Ext, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    good = write_extension(tmp_path / "more", "good")
    bad = write_extension(tmp_path / "more", "bad", "import webui.nn\n")
    assert ext("check", str(good)) == 0
    assert ext("check", str(good), str(bad)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "good: all is well.",
        "good: all is well.",
        "bad: main.py:1: webui.nn is the program's inside; extensions import from webui.ext alone.",
    ]


def test_bundling_writes_the_list_of_what_comes_with_the_program(
    ext: Ext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written: dict[str, Path] = {}
    monkeypatch.setattr(command, "write_bundled", written.update)
    folder = write_extension(tmp_path / "home", "canny")
    assert ext("check", "--bundle") == 0
    assert written == {"canny": folder}
    write_extension(tmp_path / "home", "bad", "a = (\n")
    written.clear()
    assert ext("check", "--bundle") == 1
    assert written == {}


def test_sync_shows_its_plan_and_asks(ext: Ext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(command, "plan", lambda _packages: ("einops==0.8.1",))
    monkeypatch.setattr(command, "carry_out", done.append)
    with pytest.raises(command.BadRequest):
        ext("sync", answer=False)
    assert "einops==0.8.1" in capsys.readouterr().out
    assert done == []
    ext("sync", answer=True)
    assert done == [("einops==0.8.1",)]


def test_model_files_are_fetched_after_a_question(
    ext: Ext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fetched: list[str] = []
    monkeypatch.setattr(command, "fetch_model", lambda model, *_: fetched.append(model.id))
    one = '[[model]]\nid = "one"\nfile = "one.bin"\nbytes = 2000000\nlicense = "MIT"\nrepository = "them/one"\n'
    two = '[[model]]\nid = "two"\nfile = "two.bin"\n'
    write_extension(tmp_path / "more", "theirs", tables=one + two)
    models = ("--models-dir", str(tmp_path / "models"))
    with pytest.raises(command.BadRequest):
        ext("fetch", *models, "theirs", answer=False)
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"one  2.0 MB  MIT  from them/one  into {tmp_path / 'models' / 'ControlNetPreprocessor'}"
    assert fetched == []
    ext("fetch", *models, "theirs", "two", answer=True)
    ext("fetch", *models, "theirs", answer=True)
    assert fetched == ["two", "one", "two"]
    with pytest.raises(command.NotFound, match='declares no model "tow"'):
        ext("fetch", *models, "theirs", "tow", answer=True)


def test_an_unknown_id_is_told_with_what_was_perhaps_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_extension(tmp_path, "theirs")
    words = ["ext", "disable", "their", "--extensions-dir", str(tmp_path), "--data-dir", str(tmp_path / "data")]
    assert cli.main(words) == 2
    assert 'There is no extension "their" (did you mean "theirs"?)' in capsys.readouterr().err


def test_a_wrong_word_costs_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["ext", "lst"])
    assert capsys.readouterr().err.count("\n") == 1
