"""A press of Generate: a ticket with the job's id, or with an error to read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from webui.runtime.runtime import Runtime
from webui.ui.submit import submit


def press(runtime: Runtime, owner: str = "local", **changes: Any) -> dict[str, Any]:
    payload = {"tab": "txt2img", "key": "k1", "fields": {"prompt": "a ball", "steps": 2}, "pictures": {}} | changes
    return json.loads(submit(runtime, json.dumps(payload), owner))


def test_a_press_makes_a_job_of_its_owner(runtime: Runtime) -> None:
    ticket = press(runtime, owner="ann")
    assert ticket["key"] == "k1"
    assert runtime.jobs.view(ticket["id"], "ann").request["prompt"] == "a ball"
    assert ticket["id"] not in [view.id for view in runtime.jobs.list("local")]


def test_the_same_key_means_the_same_job(runtime: Runtime) -> None:
    first = press(runtime, key="k2")["id"]
    assert press(runtime, key="k2")["id"] == first
    assert press(runtime, key="k3")["id"] != first


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"steps": 5000}, "Sampling steps: .*1000.*5000"),
        ({"width": "wide"}, "Width: .*'wide'"),
        ({"sampler": "Nobody"}, "Nobody"),
        ({"glow": 1}, "unknown field 'glow'"),
        ({"width": 4096, "height": 4096, "enable_hr": True}, "pixels"),
        ({"model": "absent"}, "absent"),
    ],
)
def test_a_wrong_field_is_named_in_the_ticket(runtime: Runtime, fields: dict[str, Any], told: str) -> None:
    ticket = press(runtime, fields=fields)
    assert "id" not in ticket
    assert ticket["key"] == "k1"
    text = f"{ticket['error']['message']} {ticket['error']['cure']}"
    assert re.search(told, text, re.S), text


@pytest.mark.parametrize("payload", ["", "null", "[]", "{", "7", '{"tab": 3}', '{"tab": "txt2img", "fields": []}'])
def test_what_no_page_sends_gets_an_error_and_no_job(runtime: Runtime, payload: str) -> None:
    ticket = json.loads(submit(runtime, payload, "local"))
    assert "Reload the page." in ticket["error"]["cure"]
    assert "id" not in ticket


def test_an_unknown_tab_and_a_foreign_path_are_refused(runtime: Runtime, cache: Path) -> None:
    assert "error" in press(runtime, tab="upscale")
    ticket = press(runtime, tab="img2img", pictures={"image": {"path": "/etc/hostname"}})
    assert ticket["error"]["message"] == "This file was not uploaded here."


def test_a_bug_is_told_without_its_inside(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> str:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(runtime.jobs, "submit", broken)
    ticket = press(runtime, key="k4")
    assert "secret" not in json.dumps(ticket)
    assert "log" in ticket["error"]["cure"]
