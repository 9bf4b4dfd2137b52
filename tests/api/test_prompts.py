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
    assert one.get("/api/v1/styles").json() == {"styles": [], "locked": ""}
    file = runtime.settings.models_dir / "styles.csv"
    file.write_text("name,prompt,negative_prompt\nInk,ink,photo\n", encoding="utf-8")
    assert one.get("/api/v1/styles").json() == {
        "styles": [{"name": "Ink", "prompt": "ink", "negative_prompt": "photo"}],
        "locked": "",
    }


def test_styles_are_saved_replaced_and_deleted(one: TestClient, runtime: Runtime) -> None:
    file = runtime.settings.models_dir.parent / "styles.csv"
    body = {"name": "Red, blue/1", "prompt": "ink", "negative_prompt": "photo"}
    assert one.post("/api/v1/styles", json=body).json() == {"styles": [body], "locked": ""}
    assert file.read_bytes() == b'\xef\xbb\xbfname,prompt,negative_prompt\r\n"Red, blue/1",ink,photo\r\n'
    refused = one.post("/api/v1/styles", json={**body, "prompt": "fine"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_there")
    changed = {**body, "prompt": "fine"}
    assert one.post("/api/v1/styles", json={**changed, "replace": True}).json()["styles"] == [changed]
    assert one.delete("/api/v1/styles", params={"name": "gone"}).status_code == 404
    assert one.delete("/api/v1/styles", params={"name": body["name"]}).json()["styles"] == []
    assert one.post("/api/v1/styles", json={"name": "=1+1"}).status_code == 422


def test_styles_are_laid_over_prompts(one: TestClient, runtime: Runtime) -> None:
    file = runtime.settings.models_dir / "styles.csv"
    file.write_text('name,prompt,negative_prompt\nInk,"ink, {prompt}",photo\n', encoding="utf-8")
    body = {"prompt": "a cat", "hr_prompt": "a dog", "styles": ["Ink"]}
    assert one.post("/api/v1/styles/apply", json=body).json() == {
        "prompt": "ink, a cat", "negative_prompt": "photo", "hr_prompt": "ink, a dog",
    }  # fmt: skip
    assert one.post("/api/v1/styles/apply", json={"styles": ["Gone"]}).status_code == 404


def test_a_server_that_others_reach_has_its_styles_locked(one: TestClient, runtime: Runtime) -> None:
    runtime.styles.locked = True
    assert "--allow-remote-extensions" in one.get("/api/v1/styles").json()["locked"]
    for answer in (one.post("/api/v1/styles", json={"name": "Ink"}), one.delete("/api/v1/styles?name=Ink")):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert not (runtime.settings.models_dir.parent / "styles.csv").exists()


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
