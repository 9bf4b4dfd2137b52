"""Extensions over HTTP: listed, switched, installed and removed without a restart; their routes."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.api.test_native import problem
from tests.steered import SKETCH, write_extension
from webui.runtime.runtime import Runtime
from webui.server.options import ServeOptions, add_serve_options
from webui.server.serve import settings_of


def listed(one: TestClient) -> dict[str, dict]:
    answer = one.get("/api/v1/extensions").json()
    return {item["id"]: item for item in answer["extensions"]}


def post(one: TestClient, path: str, body: dict | None = None) -> str:
    answer = one.post(f"/api/v1/extensions/{path}", json=body or {})
    assert answer.is_success, answer.text
    return str(answer.json().get("message", ""))


def test_an_extension_is_listed_with_what_its_manifest_says(one: TestClient):
    sketch = listed(one)["sketch"]
    assert (sketch["name"], sketch["version"], sketch["state"], sketch["bundled"]) == (
        "Sketch",
        "1.2.0",
        "ready",
        False,
    )
    assert sketch["hooks"] == ["after_cfg"]
    assert sketch["preprocessors"] == [{"id": "lines", "label": "Lines"}]
    (accordion,) = sketch["accordions"]
    assert (accordion["label"], accordion["tabs"]) == ("Sketching", ["txt2img", "img2img"])
    assert [field["id"] for field in accordion["fields"]] == ["strength", "ink"]
    assert sketch["values"] == {"quality": 3}


def test_what_the_engine_says_of_it_is_told(one: TestClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch):
    report = {
        "id": "sketch", "state": "failed", "reason": "it broke in main.py:1", "load_seconds": 0.25,
        "hooks": {"after_cfg": {"calls": 4, "seconds": 0.02}}, "switched_off": ["after_step"],
    }  # fmt: skip
    monkeypatch.setattr(runtime.questions, "report", lambda: [report])
    sketch = listed(one)["sketch"]
    assert (sketch["state"], sketch["reason"], sketch["load_seconds"]) == ("failed", "it broke in main.py:1", 0.25)
    assert (sketch["seconds"], sketch["switched_off"]) == ({"after_cfg": 0.02}, ["after_step"])


def test_switches_count_at_once(one: TestClient):
    assert post(one, "sketch/disable") == "Sketch: off from the next job."
    assert listed(one)["sketch"]["state"] == "disabled"
    assert one.get("/api/v1/control/preprocessors").json() == {"preprocessors": []}
    post(one, "sketch/enable")
    post(one, "sketch/reload")
    assert listed(one)["sketch"]["state"] == "ready"
    assert one.post("/api/v1/extensions/sketch/settings", json={"quality": 7}).json() == {"values": {"quality": 7}}
    assert listed(one)["sketch"]["values"] == {"quality": 7}
    problem(one.post("/api/v1/extensions/sketch/settings", json={"quality": 70}), 422)
    problem(one.post("/api/v1/extensions/sketch/explode"), 404)
    problem(one.post("/api/v1/extensions/nobody/enable"), 404)


def test_a_folder_is_installed_allowed_and_removed(one: TestClient, tmp_path: Path):
    write_extension(tmp_path / "other", SKETCH.replace('"sketch"', '"other"').replace('"lines"', '"strokes"'))
    post(one, "install", {"source": str(tmp_path / "other")})
    assert listed(one)["other"]["state"] == "disabled"
    assert "allowed" in listed(one)["other"]["reason"]
    post(one, "other/allow")
    assert listed(one)["other"]["state"] == "ready"
    post(one, "other/remove")
    assert "other" not in listed(one)
    assert (tmp_path / "other").is_dir()


def test_a_zip_is_sent_and_one_with_a_way_out_is_refused(one: TestClient, tmp_path: Path):
    text = SKETCH.replace('"sketch"', '"zipped"').replace('"lines"', '"zipped_lines"')
    answer = one.post("/api/v1/extensions/install-zip", content=packed({"zipped/extension.toml": text}))
    assert answer.status_code == 201, answer.text
    assert listed(one)["zipped"]["state"] == "disabled"
    evil = packed({"evil/extension.toml": text, "evil/../../../gotcha.txt": "x"})
    assert not one.post("/api/v1/extensions/install-zip", content=evil).is_success
    assert not list(tmp_path.rglob("gotcha.txt"))


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_a_route_of_an_extension_is_called(one: TestClient):
    answer = one.post("/api/v1/ext/sketch/echo", json={"body": {"say": "hi"}})
    assert answer.json() == {"body": {"heard": {"say": "hi"}}, "images": []}
    problem(one.post("/api/v1/ext/sketch/nothing", json={}), 404)


def lock_as(runtime: Runtime, options: Sequence[str]) -> None:
    """What a server that is started with these options lets be changed."""
    parser = argparse.ArgumentParser()
    add_serve_options(parser)
    settings = settings_of(ServeOptions.of(parser.parse_args(options)))
    runtime.extensions.locked = settings.extensions_locked


@pytest.mark.parametrize("options", [["--listen"], ["--listen", "192.168.0.2"], ["--share"], ["--share-required"]])
def test_a_server_that_others_reach_changes_nothing(one: TestClient, runtime: Runtime, options: list[str]):
    lock_as(runtime, options)
    assert "--allow-remote-extensions" in one.get("/api/v1/extensions").json()["locked"]
    for verb in ("enable", "allow", "disable", "reload", "remove"):
        assert problem(one.post(f"/api/v1/extensions/sketch/{verb}"), 403)["code"] == "forbidden"
    problem(one.post("/api/v1/extensions/refresh"), 403)
    problem(one.post("/api/v1/extensions/install", json={"source": "/x"}), 403)
    problem(one.post("/api/v1/extensions/install-zip", content=b"PK"), 403)
    problem(one.post("/api/v1/extensions/sketch/settings", json={"quality": 1}), 403)
    problem(one.post("/api/v1/extensions/sketch/fetch", json={"models": []}), 403)
    assert listed(one)["sketch"]["state"] == "ready"


@pytest.mark.parametrize("options", [[], ["--listen", "--allow-remote-extensions"]])
def test_who_starts_the_server_may_let_extensions_be_changed(one: TestClient, runtime: Runtime, options: list[str]):
    lock_as(runtime, options)
    assert one.get("/api/v1/extensions").json()["locked"] == ""
    assert post(one, "sketch/disable") == "Sketch: off from the next job."
    assert post(one, "refresh") == "The folders were read again."
    assert listed(one)["sketch"]["state"] == "disabled"
