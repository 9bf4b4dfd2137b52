"""What a prompt comes to, over HTTP."""

from __future__ import annotations

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
