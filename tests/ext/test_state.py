"""What the user said of extensions lasts, and third-party code stays off until he allows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.ext.state import Choices, ExtState

NOT_ALLOWED = "it does not come with the program and nobody has allowed it yet"


def test_bundled_extensions_are_on_and_third_party_ones_off():
    assert Choices().refusal("canny", bundled=True) == ""
    assert Choices().refusal("canny", bundled=False) == NOT_ALLOWED


def test_what_was_said_is_read_by_the_next_process(tmp_path: Path):
    state = ExtState(tmp_path)
    state.disable("canny")
    state.enable("theirs", allow=True)
    state.set_settings("theirs", {"loud": True})
    choices = ExtState(tmp_path).choices()
    assert choices.refusal("canny", bundled=True) == "it is switched off"
    assert choices.refusal("theirs", bundled=False) == ""
    assert choices.of("theirs").settings == {"loud": True}


def test_switching_on_is_not_allowing(tmp_path: Path):
    state = ExtState(tmp_path)
    state.enable("canny")
    assert state.choices().refusal("canny", bundled=False) == NOT_ALLOWED


def test_a_switched_off_extension_stays_allowed(tmp_path: Path):
    state = ExtState(tmp_path)
    state.enable("theirs", allow=True)
    state.disable("theirs")
    state.enable("theirs")
    assert state.choices().refusal("theirs", bundled=False) == ""


def test_a_forgotten_extension_must_be_allowed_anew(tmp_path: Path):
    state = ExtState(tmp_path)
    state.enable("theirs", allow=True)
    state.forget("theirs")
    assert state.choices() == Choices()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"extensions": {"theirs": 3}}', "\ufeff\0"])
def test_a_broken_file_allows_nothing(tmp_path: Path, text: str):
    (tmp_path / "extensions.json").write_text(text, encoding="utf-8")
    assert ExtState(tmp_path).choices() == Choices()


def test_choices_travel_as_json():
    choices = Choices.model_validate({"extensions": {"theirs": {"allowed": True, "settings": {"loud": 1}}}})
    assert Choices.model_validate_json(choices.model_dump_json()) == choices
