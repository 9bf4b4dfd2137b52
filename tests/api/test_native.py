"""Jobs, pictures and models over HTTP."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from tests.fake_engine import prompt_mark
from tests.server.conftest import BASE, Clients
from webui.runtime.runtime import Runtime
from webui.schema.errors import QueueFull

FROM_HERE = {"origin": BASE}
BALL = {"kind": "txt2img", "prompt": "a ball", "steps": 3, "seed": 7, "width": 64, "height": 64}


def submit(one: TestClient, key: str | None = None, **fields: Any) -> str:
    headers = {"idempotency-key": key} if key else {}
    answer = one.post("/api/v1/jobs", json={**BALL, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def follow(one: TestClient, job_id: str, last: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """(id, view) of each message until the job's end."""
    headers = {"last-event-id": last} if last else {}
    answer = one.get(f"/api/v1/jobs/{job_id}/events", headers=headers)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    messages = [text.split("\n") for text in answer.text.split("\n\n") if text.startswith("id:")]
    return [(lines[0].removeprefix("id: "), json.loads(lines[1].removeprefix("data: "))) for lines in messages]


def finish(one: TestClient, job_id: str) -> dict[str, Any]:
    return follow(one, job_id)[-1][1]


def png(size: tuple[int, int] = (32, 24), colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def problem(answer: Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "cure"}
    return dict(body)


def test_a_job_runs_to_its_picture(one: TestClient):
    job_id = submit(one)
    last = finish(one, job_id)
    assert last["state"] == "done"
    assert last == one.get(f"/api/v1/jobs/{job_id}").json()
    (image,) = last["images"]
    answer = one.get(f"/api/v1/images/{image['id']}.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.getpixel((0, 0)) == prompt_mark("a ball")
        assert picture.text["parameters"] == image["infotext"]  # type: ignore[attr-defined]


def test_a_picture_is_given_as_it_lies_on_the_disk(one: TestClient, runtime: Runtime):
    (image,) = finish(one, submit(one))["images"]
    path = runtime.outputs.get(image["id"], "local")
    assert one.get(f"/api/v1/images/{image['id']}.png").content == path.read_bytes()


def test_a_thumbnail_is_small_and_keeps_its_shape(one: TestClient):
    (image,) = finish(one, submit(one, width=512, height=256))["images"]
    answer = one.get(f"/api/v1/images/{image['id']}/thumb.jpg")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (256, 128))


def test_the_stream_tells_steps_in_order_and_ends_with_the_job(one: TestClient):
    messages = follow(one, submit(one, steps=40))
    cursors = [view["cursor"] for _id, view in messages]
    assert cursors == sorted(set(cursors))
    assert [message_id for message_id, _view in messages] == [str(cursor) for cursor in cursors]
    assert len({view["step"] for _id, view in messages}) > 1
    assert [view["state"] in ("done", "failed") for _id, view in messages] == [False] * (len(messages) - 1) + [True]


def test_a_stream_of_a_finished_job_says_so_at_once(one: TestClient):
    job_id = submit(one)
    cursor, view = follow(one, job_id)[-1]
    assert follow(one, job_id) == [(cursor, view)]
    assert follow(one, job_id, last=cursor) == [(cursor, view)]


def test_two_presses_under_one_key_are_one_job(one: TestClient):
    assert submit(one, key="press-1") == submit(one, key="press-1") != submit(one, key="press-2")


def test_jobs_are_listed_newest_first(one: TestClient):
    ids = [submit(one, prompt=f"job {number}") for number in range(3)]
    listed = [view["id"] for view in one.get("/api/v1/jobs").json()["jobs"]]
    assert listed == ids[::-1]
    assert [view["id"] for view in one.get("/api/v1/jobs?limit=1").json()["jobs"]] == ids[2:]
    older = one.get("/api/v1/jobs", params={"before": ids[1]}).json()["jobs"]
    assert [view["id"] for view in older] == ids[:1]


def test_a_running_job_has_a_preview_and_is_interrupted(one: TestClient):
    job_id = submit(one, prompt="a ball hang@5", steps=1000)
    while one.get(f"/api/v1/jobs/{job_id}").json()["preview"] == 0:
        pass
    answer = one.get(f"/api/v1/jobs/{job_id}/preview.jpg?n=1")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"
    assert one.post(f"/api/v1/jobs/{job_id}/skip").json()["state"] == "running"


def test_interrupt_ends_a_job_and_the_next_one_runs(one: TestClient):
    first, second = submit(one, steps=1000), submit(one, prompt="next")
    one.post(f"/api/v1/jobs/{first}/interrupt")
    assert finish(one, first)["state"] == "interrupted"
    assert finish(one, second)["state"] == "done"


def test_a_job_that_fails_tells_cause_and_cure(one: TestClient):
    last = finish(one, submit(one, prompt="raise@2"))
    assert last["state"] == "failed"
    told = {"code": "error", "message": "The job failed: a fault was asked for.", "cure": "Ask for none."}
    assert last["error"] == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"steps": 0}, "Sampling steps: Input should be greater than or equal to 1 (got 0)"),
        ({"stepz": 5}, "unknown field 'stepz'"),
        ({"kind": "video"}, "There is no request of kind 'video'."),
        ({"sampler": "Eulr"}, "Sampling method: unknown sampler 'Eulr'"),
        ({"kind": "img2img", "init_image": {"sha256": "../../etc/passwd"}}, "init_image.sha256: String should match"),
    ],
)
def test_what_a_request_gets_wrong_is_named(one: TestClient, fields: dict[str, Any], told: str):
    answer = problem(one.post("/api/v1/jobs", json={**BALL, **fields}), 422)
    assert answer["code"] == "bad_request"
    assert told in answer["message"]


def test_what_is_no_json_object_is_refused(one: TestClient):
    for body, kind in ((b"[]", "application/json"), (b"{", "application/json"), (b"{}", "text/plain"), (b"{}", "")):
        problem(one.post("/api/v1/jobs", content=body, headers={"content-type": kind} if kind else {}), 422)


def test_a_missing_model_is_named(one: TestClient):
    assert "nothing-here" in problem(one.post("/api/v1/jobs", json={**BALL, "model": "nothing-here"}), 404)["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/jobs/x", "/api/v1/jobs/x/events", "/api/v1/jobs/x/preview.jpg", "/api/v1/images/x.png",
        "/api/v1/images/x/thumb.jpg", "/api/v1/images/..%2f..%2fdata%2fatelier.db.png",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_404_with_a_sentence(one: TestClient, path: str):
    answer = one.get(path)
    assert answer.status_code == 404
    assert "There is no such" in answer.text or "Not Found" in answer.text


def test_a_full_queue_says_when_to_try_again(one: TestClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise QueueFull("500 jobs wait already.", "Try again when some are done.")

    monkeypatch.setattr(runtime.jobs, "submit", full)
    answer = one.post("/api/v1/jobs", json=BALL)
    assert problem(answer, 503)["code"] == "queue_full"
    assert answer.headers["retry-after"] == "10"


def test_a_picture_is_handed_in_as_bytes_or_in_a_form_and_used(one: TestClient):
    raw = one.post("/api/v1/images", content=png(), headers={"content-type": "image/png"})
    form = one.post("/api/v1/images", files={"file": ("a.png", png(), "image/png")})
    assert raw.status_code == form.status_code == 201
    assert raw.json() == form.json()
    last = finish(one, submit(one, kind="img2img", init_image=raw.json(), width=None, height=None))
    assert (last["images"][0]["width"], last["images"][0]["height"]) == (32, 24)


@pytest.mark.parametrize("data", [b"", b"hello", png()[:40], b"<svg/>", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_what_is_no_picture_is_refused(one: TestClient, data: bytes):
    for path in ("/api/v1/images", "/api/v1/png-info"):
        assert problem(one.post(path, content=data), 422)["code"] == "bad_image"
    problem(one.post("/api/v1/images", files={"file": ("a.png", data)}), 422)


def test_a_form_without_a_file_is_refused(one: TestClient):
    answer = one.post("/api/v1/images", data={"a": "b"}, files={"x": (None, "text")})
    assert problem(answer, 422)["message"] == "The form holds no file."


def test_the_text_of_a_picture_becomes_the_fields_of_a_request(one: TestClient):
    (image,) = finish(one, submit(one, cfg_scale=3.5))["images"]
    saved = one.get(f"/api/v1/images/{image['id']}.png").content
    answer = one.post("/api/v1/png-info", content=saved).json()
    assert answer["infotext"] == image["infotext"]
    wanted = {"prompt": "a ball", "steps": 3, "seed": 7, "cfg_scale": 3.5, "width": 64, "height": 64, "model": "toybox"}
    assert {name: answer["fields"][name] for name in wanted} == wanted


@pytest.mark.parametrize(("label", "field"), [("Hires checkpoint", "hr_model"), ("Refiner", "refiner")])
def test_a_further_checkpoint_that_is_not_here_is_told_and_left_out(one: TestClient, label: str, field: str):
    lines = f"a ball\nSteps: 3, Sampler: Euler, Seed: 7, Size: 64x64, Hires upscale: 2, {label}: "
    told = {}
    for name in ("toybox.safetensors", "gone"):
        buffer = io.BytesIO()
        text = PngInfo()
        text.add_text("parameters", lines + name)
        Image.new("RGB", (64, 64)).save(buffer, "PNG", pnginfo=text)
        answer = one.post("/api/v1/png-info", content=buffer.getvalue()).json()
        told[name] = answer["fields"][field], any("gone" in note for note in answer["notes"])
    assert told == {"toybox.safetensors": ("toybox", False), "gone": ("", True)}


def test_a_picture_without_text_gives_no_fields(one: TestClient):
    assert one.post("/api/v1/png-info", content=png()).json() == {"infotext": "", "fields": {}, "notes": []}


def test_models_and_status_are_told(one: TestClient):
    models = one.get("/api/v1/models").json()
    assert models["default"] == "toybox"
    assert [model["name"] for model in models["models"]] == ["toybox"]
    status = one.get("/api/v1/status").json()
    assert (status["ready"], status["user"], status["login"]) == (True, "local", False)


def test_nobody_sees_what_belongs_to_somebody_else(client: Clients, runtime: Runtime):
    shared = client(ann="apple", bob="pear")
    shared.auth = ("ann", "apple")
    job_id = submit(shared)
    (image,) = finish(shared, job_id)["images"]
    shared.auth = ("bob", "pear")
    for path in (f"jobs/{job_id}", f"jobs/{job_id}/events", f"jobs/{job_id}/preview.jpg", f"images/{image['id']}.png"):
        problem(shared.get(f"/api/v1/{path}"), 404)
    for verb in ("interrupt", "skip"):
        problem(shared.post(f"/api/v1/jobs/{job_id}/{verb}"), 404)
    assert shared.get("/api/v1/jobs").json() == {"jobs": []}
    assert submit(shared, key="k") != job_id


def test_nothing_of_the_disk_is_told(one: TestClient, tmp_path: Path):
    job_id = submit(one)
    finish(one, job_id)
    texts = [one.get(f"/api/v1/{path}").text for path in (f"jobs/{job_id}", "jobs", "models", "status")]
    assert not any(str(tmp_path) in text for text in texts)
