"""What a prompt comes to, over HTTP."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from webui.runtime.runtime import Runtime


def test_both_prompts_are_counted(one: TestClient) -> None:
    body = {"prompt": "a ball", "negative_prompt": "a AND b", "steps": 4}
    found = one.post("/api/v1/tokens", json=body).json()
    assert sum(found["prompt"]["tokens"]) >= 2
    assert found["prompt"]["room"] == 75
    assert found["prompt"]["notes"] == []
    assert "AND has no effect" in found["negative_prompt"]["notes"][0]


def test_what_cannot_be_counted_is_refused_by_name(one: TestClient) -> None:
    assert one.post("/api/v1/tokens", json={"steps": 0}).status_code == 422
    assert one.post("/api/v1/tokens", json={"model": "nowhere"}).status_code == 404


def test_styles_are_listed(one: TestClient, runtime: Runtime) -> None:
    assert one.get("/api/v1/styles").json() == {"styles": []}
    file = runtime.settings.models_dir / "styles.csv"
    file.write_text("name,prompt,negative_prompt\nInk,ink,photo\n", encoding="utf-8")
    assert one.get("/api/v1/styles").json() == {
        "styles": [{"name": "Ink", "prompt": "ink", "negative_prompt": "photo"}]
    }


def test_styles_that_are_not_there_refuse_a_job(one: TestClient) -> None:
    answer = one.post("/api/v1/jobs", json={"kind": "txt2img", "prompt": "a cat", "styles": ["Ink"]})
    assert answer.status_code == 404
    assert "There is no style 'Ink'" in answer.text


def test_a_picture_gives_its_styles_back_while_they_are_as_they_were(one: TestClient, runtime: Runtime) -> None:
    file = runtime.settings.models_dir / "styles.csv"
    text = "ink, a cat\nTemplate: a cat, Styles: Ink, Steps: 3, Sampler: Euler, Seed: 1"
    chunks = PngInfo()
    chunks.add_text("parameters", text)
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "PNG", pnginfo=chunks)

    def read() -> tuple[str, list[str], bool]:
        told = one.post("/api/v1/png-info", content=picture.getvalue()).json()
        changed = any("styles (Ink) are not here" in note for note in told["notes"])
        return told["fields"]["prompt"], told["fields"]["styles"], changed

    assert read() == ("ink, a cat", [], True)
    file.write_text('name,prompt\nInk,"ink, {prompt}"', encoding="utf-8")
    assert read() == ("a cat", ["Ink"], False)
    file.write_text('name,prompt\nInk,"blue ink, {prompt}"', encoding="utf-8")
    assert read() == ("ink, a cat", [], True)
