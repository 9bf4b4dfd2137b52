"""Memory over HTTP: told, and let go."""

from __future__ import annotations

from starlette.testclient import TestClient

from tests.api.test_native import problem
from tests.fake_engine import LOADED, MEMORY
from webui.runtime.runtime import Runtime


def test_what_is_loaded_is_told_and_let_go(one: TestClient) -> None:
    assert one.get("/api/v1/memory").json() == {**MEMORY, "loaded": [LOADED]}
    assert one.post("/api/v1/memory/unload").json() == {**MEMORY, "loaded": []}


def test_an_engine_that_starts_says_so(one: TestClient, runtime: Runtime) -> None:
    runtime.engine.ready = False
    assert "starting" in problem(one.get("/api/v1/memory"), 500)["message"]
