"""The application as a whole: every route is closed, and Gradio reads no file that it was not given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.server.conftest import BASE, Clients, cache_folder
from webui.runtime.runtime import Runtime
from webui.server.app import Faces, build_inner
from webui.server.auth import PUBLIC
from webui.server.hosts import Hosts
from webui.ui.page import build_page, mount_options

pytestmark = pytest.mark.filterwarnings("ignore::Warning:gradio.queueing")


def routes(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route, those of mounted applications included."""
    for route in app.routes:
        if isinstance(route, Mount):
            inside = route.app if hasattr(route.app, "routes") else None
            yield from routes(inside, prefix + route.path) if inside else [("GET", f"{prefix}{route.path}/x")]
        elif hasattr(route, "original_router"):  # a router that was included
            yield from routes(route.original_router, prefix)
        else:
            yield from ((method, prefix + route.path) for method in sorted(route.methods or {"GET"}))


def bare_app(runtime: Runtime) -> FastAPI:
    """Without the wall and the guard."""
    return build_inner(Faces(runtime, build_page(runtime), mount_options(), Hosts()))


def test_every_route_wants_a_login_but_for_the_login_page(client: Clients, runtime: Runtime):
    every = {(method, path) for method, path in routes(bare_app(runtime)) if method not in ("HEAD", "OPTIONS")}
    paths = {path for _method, path in every}
    assert {"/api/v1/jobs", "/api/v1/jobs/{job_id}/events", "/gradio_api/upload", "/config", "/"} <= paths
    closed = client(ann="apple")
    answers = {(method, path): closed.request(method, path).status_code for method, path in every}
    assert set(answers.values()) == {401}
    assert frozenset({"/login"}) == PUBLIC
    assert [closed.get(path).status_code for path in sorted(PUBLIC)] == [200]


def test_routes_refuse_even_where_the_wall_is_missing(runtime: Runtime):
    with TestClient(bare_app(runtime), BASE) as bare:
        for path in ("/", "/api/v1/jobs", "/api/v1/status", "/api/v1/jobs/x/events", "/config"):
            assert bare.get(path).status_code == 401, path


def test_the_page_is_served_to_whoever_is_logged_in(client: Clients, runtime: Runtime):
    one = client(build_page(runtime), ann="apple")
    assert one.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
    answer = one.post("/login", data={"user": "ann", "password": "apple"}, headers={"origin": BASE})
    assert answer.status_code == 303
    page = one.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "Atelier" in page.text
    assert one.get("/config").json()["username"] == "ann"
    one.post("/logout", headers={"origin": BASE})
    assert one.get("/api/v1/status").status_code == 401


def test_without_login_the_page_is_served_at_once(client: Clients):
    one = client()
    assert one.get("/").status_code == 200
    assert one.get("/api/v1/status").json()["user"] == "local"


def test_no_description_of_the_interface_is_given_away(client: Clients):
    one = client()
    for path in ("/docs", "/openapi.json", "/redoc", "/monitoring/summary"):
        assert one.get(path).status_code in (401, 403, 404), path


def test_an_unknown_error_is_told_without_its_text(client: Clients, runtime: Runtime, monkeypatch: pytest.MonkeyPatch):
    def fall(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(runtime.jobs, "list", fall)
    answer = client().get("/api/v1/jobs")
    assert answer.status_code == 500
    assert answer.json()["code"] == "error"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def nosy_page() -> gr.Blocks:
    """A page with every component that takes files, and events that would read them."""
    with gr.Blocks(analytics_enabled=False) as page:
        seen = gr.Textbox()
        readers = (gr.Image(type="filepath"), gr.File(), gr.Gallery(), gr.ImageEditor(type="filepath"))
        for number, component in enumerate(readers):
            component.change(str, component, seen, api_name=f"read{number}", queue=False)
            component.change(lambda value: value, component, component, api_name=f"echo{number}", queue=False)
    return page


def file_at(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def copies_of(content: bytes) -> list[Path]:
    """Files with this content among those that Gradio would give out."""
    return [file for file in cache_folder().rglob("*") if file.is_file() and file.read_bytes() == content]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.png"
    file.write_bytes(b"the secret")
    return file


def call(one: TestClient, name: str, value: Any) -> str:
    """What the event stream of one call of this event says."""
    begun = one.post(f"/gradio_api/call/{name}", json={"data": [value]}, headers={"origin": BASE})
    assert begun.status_code == 200, begun.text
    return one.get(f"/gradio_api/call/{name}/{begun.json()['event_id']}").text


def test_no_event_reads_a_file_that_was_not_uploaded(client: Clients, secret: Path):
    one = client(nosy_page())
    given = file_at(str(secret))
    editor = {"background": given, "layers": [given], "composite": given}
    for number, value in enumerate((given, given, [{"image": given}], editor)):
        for name in (f"read{number}", f"echo{number}"):
            assert "event: error" in call(one, name, value), name
    assert copies_of(b"the secret") == []


def test_a_file_that_was_uploaded_is_read(client: Clients):
    one = client(nosy_page())
    path = one.post("/gradio_api/upload", files={"files": ("a.txt", b"hello")}, headers={"origin": BASE}).json()[0]
    assert "event: complete" in call(one, "echo1", file_at(path))


def test_no_event_of_the_real_page_reads_a_file_that_was_not_uploaded(client: Clients, runtime: Runtime, secret: Path):
    page = build_page(runtime)
    one = client(page)
    given = file_at(str(secret))
    for function in page.fns.values():
        if function.fn is None:
            continue
        editor = {"background": given, "layers": [given], "composite": given}
        for value in (given, [{"image": given}], editor, json.dumps(given), json.dumps(editor)):
            body = {"data": [value] * len(function.inputs), "fn_index": function._id, "session_hash": "s"}
            answer = one.post("/gradio_api/run/predict", json=body, headers={"origin": BASE})
            assert "the secret" not in answer.text
    assert copies_of(b"the secret") == []


ROUTES = ("/gradio_api/file=", "/file=", "/file/", "/static/", "/assets/", "/svelte/", "/api/v1/images/", "/theme.css/")
ESCAPES = (
    "{}", "../../../../../../..{}", "..%2f..%2f..%2f..%2f..%2f..{}", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{}", "/{}",
    "{}%00.png", "file://{}", "./{}", "C:{}", "\\\\localhost\\c$\\{}", "....//....//....//....//....//..{}",
)  # fmt: skip


def test_no_path_leads_out_of_what_is_served(client: Clients, secret: Path):
    one = client()
    for route in ROUTES:
        for escape in ESCAPES:
            assert b"the secret" not in one.get(route + escape.format(secret)).content, route + escape


def test_the_application_gives_its_routes_before_the_page(runtime: Runtime):
    assert isinstance(bare_app(runtime).routes[-1], Mount)
