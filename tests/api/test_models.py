"""Model files over HTTP: found by pages and words, told of by id, described, converted and fetched; never by a path."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from tests.api.test_native import problem
from tests.fetch.stand_in import Served, StandIn, stand_in
from tests.modelfiles.files import picture, write_embedding, write_lora
from webui.runtime.runtime import Runtime

FILES = "/api/v1/model-files"


@pytest.fixture
def models(runtime: Runtime) -> Path:
    """The models folder of the server, with a few files."""
    folder = runtime.settings.models_dir
    write_lora(folder / "Lora" / "style.safetensors", {"ss_tag_frequency": {"a": {"wash": 3}}})
    write_lora(folder / "Lora" / "sub" / "pixel.safetensors")
    write_embedding(folder / "embeddings" / "word.safetensors")
    runtime.model_files.refresh()
    return folder


@pytest.fixture
def far() -> Iterator[StandIn]:
    with stand_in() as one:
        yield one


def cards(one: TestClient, **wanted: Any) -> dict[str, Any]:
    """name -> card."""
    answer = one.get(FILES, params=wanted)
    assert answer.is_success, answer.text
    return {card["name"]: card for card in answer.json()["cards"]}


def over(one: TestClient) -> dict[str, Any]:
    """The latest errand, when it has ended."""
    for _ in range(2000):
        latest = one.get("/api/v1/downloads").json()["downloads"][-1]
        if latest["state"] not in ("waiting", "running"):
            return dict(latest)
        time.sleep(0.005)
    raise AssertionError("it does not end")


def test_cards_come_in_pages_by_kind_and_words(one: TestClient, models: Path):
    answer = one.get(FILES, params={"kind": "lora", "limit": 1}).json()
    assert (answer["total"], len(answer["cards"]), answer["locked"]) == (2, 1, "")
    assert (answer["kinds"]["lora"], answer["kinds"]["embedding"], answer["folders"]) == (2, 1, ["sub"])
    assert list(cards(one, kind="lora", search="wash")) == ["style"]
    assert list(cards(one, kind="lora", folder="sub")) == ["sub/pixel"]
    assert one.get(FILES, params={"limit": 501}).status_code == 422
    assert one.get(FILES, params={"sort": "path"}).status_code == 422


def test_a_new_file_is_found_when_the_folders_are_looked_at_anew(one: TestClient, models: Path):
    cards(one)
    write_lora(models / "Lora" / "new.safetensors")
    assert "new" in cards(one, fresh=True)


def test_everything_of_a_file_is_told_by_its_id_and_no_path(one: TestClient, models: Path):
    card = cards(one)["style"]
    told = one.get(f"{FILES}/{card['id']}").json()
    assert (told["name"], told["family"], told["tags"], told["may_change"]) == ("style", "sd1", [["wash", 3]], True)
    assert (told["facts"]["kind"], told["file"], told["error"]) == ("LoRA", "style.safetensors", "")
    assert str(models.parent) not in json.dumps(told)
    for id in ("nobody", "..%2f..%2fetc", "0" * 16):
        assert one.get(f"{FILES}/{id}").status_code == 404


def test_an_error_names_no_folder_of_the_server(one: TestClient, models: Path):
    (models / "Lora" / "old.pt").write_bytes(b"\x80\x02")
    told = one.get(f"{FILES}/{cards(one, fresh=True)['old']['id']}").json()
    assert "old.pt is a pickle" in told["error"]
    assert "models convert models/Lora/old.pt" in told["error"]
    assert str(models.parent) not in json.dumps(told)


def test_a_thumbnail_is_a_small_picture_and_nothing_where_there_is_none(one: TestClient, models: Path):
    id = cards(one)["style"]["id"]
    assert one.get(f"{FILES}/{id}/thumb.webp").status_code == 204
    (models / "Lora" / "style.png").write_bytes(picture("red"))
    first = one.get(f"{FILES}/{id}/thumb.webp")
    assert (first.status_code, first.headers["content-type"], first.content[8:12]) == (200, "image/webp", b"WEBP")
    assert "immutable" in first.headers["cache-control"]
    assert one.get(f"{FILES}/{id}/thumb.webp").content == first.content
    assert len(list((models.parent / "data" / "thumbs").iterdir())) == 1


def test_notes_are_written_beside_the_file_in_a1111s_words(one: TestClient, models: Path):
    id = cards(one)["style"]["id"]
    body = {"activation": "wtrclr", "weight": 0.7, "notes": "mine"}
    told = one.post(f"{FILES}/{id}/note", json=body).json()
    assert (told["note"]["activation"], told["triggers"]) == ("wtrclr", ["wtrclr"])
    kept = json.loads((models / "Lora" / "style.json").read_text())
    assert (kept["activation text"], kept["preferred weight"], kept["notes"]) == ("wtrclr", 0.7, "mine")
    assert cards(one)["style"]["activation"] == "wtrclr"
    assert one.post(f"{FILES}/{id}/note", json={"path": "/etc/passwd"}).status_code == 422
    assert one.post(f"{FILES}/{id}/note", json={"weight": 11}).status_code == 422


def test_a_pickle_is_converted_in_the_background(one: TestClient, models: Path):
    torch.save({"string_to_param": {"*": torch.ones(2, 768)}}, models / "embeddings" / "old.pt")
    id = cards(one, fresh=True)["old"]["id"]
    assert one.post(f"{FILES}/{id}/convert").status_code == 202
    assert over(one)["message"] == "old.safetensors is there now; the pickle was left where it is."
    assert not cards(one)["old"]["pickle"]
    again = one.post(f"{FILES}/{cards(one)['word']['id']}/convert")
    assert "word.safetensors is no pickle." in problem(again, 422)["message"]


def test_a_model_is_fetched_and_listed(one: TestClient, models: Path, far: StandIn, tmp_path: Path):
    far.files["/new.safetensors"] = Served(
        write_lora(tmp_path / "other" / "x.safetensors").read_bytes(), token="secret"
    )
    body = {"what": f"{far.url}/new.safetensors?token=hidden", "token": "secret", "to": "Lora/fetched"}
    started = one.post("/api/v1/downloads", json=body)
    assert started.status_code == 202
    assert "hidden" not in started.text
    assert "secret" not in started.text
    last = over(one)
    assert (last["state"], last["message"]) == ("done", "new.safetensors (LoRA) is in models/Lora/fetched.")
    assert "fetched/new" in cards(one)


def test_a_failed_download_says_why(one: TestClient, models: Path, far: StandIn):
    one.post("/api/v1/downloads", json={"what": f"{far.url}/missing.safetensors"})
    last = over(one)
    assert last["state"] == "failed"
    assert "missing.safetensors was not fetched" in last["message"]
    problem(one.post("/api/v1/downloads/nobody/cancel"), 404)
    assert one.post("/api/v1/downloads", json={"what": "x", "sha256": "12"}).status_code == 422


def test_where_others_reach_the_server_nothing_is_changed(one: TestClient, models: Path, runtime: Runtime):
    id = cards(one)["style"]["id"]
    runtime.model_files.locked = True
    assert "Others can reach this server" in one.get(FILES).json()["locked"]
    assert one.get(f"{FILES}/{id}").json()["may_change"] is False
    for path, body in (
        (f"{FILES}/{id}/note", {"notes": "x"}), (f"{FILES}/{id}/convert", {}),
        (f"{FILES}/{id}/picture", {"image": "x"}), ("/api/v1/downloads", {"what": "someone/something"}),
        ("/api/v1/downloads/x/cancel", {}),
    ):  # fmt: skip
        answer = one.post(path, json=body)
        assert answer.status_code in (403, 404), path
    assert one.post("/api/v1/downloads", json={"what": "someone/something"}).status_code == 403
    assert not (models / "Lora" / "style.json").exists()


def test_how_far_the_hashes_are_is_told(one: TestClient, models: Path):
    told = one.get(f"{FILES}/hashing").json()
    assert {"files", "files_done", "state"} <= told.keys()
    assert one.post(f"{FILES}/hashing/pause").json()["state"] in ("paused", "done", "off")
    assert one.post(f"{FILES}/hashing/resume").json()["state"] != "paused"
    assert one.post(f"{FILES}/hashing/stop").status_code == 422
    assert str(models.parent) not in json.dumps(told)
