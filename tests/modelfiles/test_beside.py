"""A1111's and Civitai's files beside a model are read, and what is written there keeps what others wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.modelfiles.files import picture
from webui.modelfiles.beside import Note, note_file, noted, preview_file, preview_of, read_note
from webui.modelfiles.pictures import SIDE, thumbnail
from webui.schema.errors import BadRequest

A1111 = {
    "description": "soft", "sd version": "SD1", "activation text": "wtrclr, wash", "preferred weight": 0.8,
    "negative text": "photo", "notes": "below 0.9",
}  # fmt: skip
NOTE = Note("soft", "wtrclr, wash", "photo", 0.8, "below 0.9", "SD1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "style.v1.safetensors"
    path.write_bytes(b"")
    return path


def test_a1111s_words_are_read(model: Path):
    note_file(model).write_text(json.dumps(A1111))
    assert note_file(model).name == "style.v1.json"
    assert read_note(model) == NOTE
    assert read_note(model).triggers == ("wtrclr", "wash")


def test_what_is_written_is_read_again_and_keeps_what_others_wrote(model: Path):
    note_file(model).write_text(json.dumps({"atelier.config": {"family": "sd1"}, "notes": "old"}))
    note_file(model).write_text(noted(model, NOTE))
    assert json.loads(note_file(model).read_text()) == {"atelier.config": {"family": "sd1"}, **A1111}
    assert read_note(model) == NOTE


@pytest.mark.parametrize("text", ['{"activation text": "mine",}', "[1]", "mine"])
def test_a_file_that_cannot_be_read_is_not_written_over(model: Path, text: str):
    note_file(model).write_text(text)
    with pytest.raises(BadRequest, match=r"style\.v1\.json cannot be read"):
        noted(model, NOTE)
    note_file(model).write_text(" {}")
    assert json.loads(noted(model, NOTE)) == A1111


def test_civitais_file_fills_what_is_not_said(model: Path):
    said = {
        "modelId": 12, "baseModel": "SDXL 1.0", "trainedWords": ["one", "two,"], "description": None,
        "model": {"description": "<p>A <b>soft</b> style</p><p>&amp; more</p>"},
    }  # fmt: skip
    model.with_name("style.v1.civitai.info").write_text(json.dumps(said))
    note = read_note(model)
    assert (note.activation, note.version, note.link) == ("one, two", "SDXL 1.0", "https://civitai.com/models/12")
    assert note.description == "A soft style\n& more"
    note_file(model).write_text('{"activation text": "mine"}')
    assert read_note(model).activation == "mine"


@pytest.mark.parametrize("text", ["[", "[1]", '{"preferred weight": "x", "modelId": "<script>"}', "", '{"model": 3}'])
def test_a_file_of_rubbish_says_nothing(model: Path, text: str):
    note_file(model).write_text(text)
    model.with_name("style.v1.civitai.info").write_text(text)
    assert read_note(model) == Note()


def test_of_several_pictures_the_first_by_its_ending_is_the_preview(model: Path):
    assert preview_of(model) is None
    for ending in (".preview.webp", ".preview.png", ".jpg", ".png"):
        model.with_name(f"style.v1{ending}").write_bytes(picture("red"))
        assert preview_of(model) == model.with_name(f"style.v1{ending}")
    assert preview_file(model) == model.with_name("style.v1.png")


def test_a_model_folders_picture_has_its_name(tmp_path: Path):
    (tmp_path / "model.v1").mkdir()
    (tmp_path / "model.v1.png").write_bytes(picture("red"))
    assert preview_of(tmp_path / "model.v1") == tmp_path / "model.v1.png"


def test_a_preview_becomes_a_small_webp(model: Path):
    from PIL import Image

    assert thumbnail(model) is None
    preview_file(model).write_bytes(picture("red", (1200, 600)))
    data = thumbnail(model) or b""
    path = model.with_name("small.webp")
    path.write_bytes(data)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (SIDE, SIDE // 2))
    preview_file(model).write_bytes(b"no picture")
    assert thumbnail(model) is None
