"""From a press of Generate to a job: one JSON text from the page, one ticket back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from webui.runtime.runtime import Runtime
from webui.schema.errors import AtelierError, BadRequest
from webui.schema.requests import parse_request
from webui.ui.pictures import request_images

log = logging.getLogger(__name__)


def submit(runtime: Runtime, payload: str, owner: str) -> str:
    """Make a job of what the page collected; returns the ticket as JSON.

    payload: `{"tab", "key", "fields": {name: value}, "pictures": {name: file}}`. `key` belongs to one press of the
    button: sent twice, it gives the same job. Ticket: `{"key", "id"}`, or `{"key", "error": {code, message, cure}}`.
    """
    key = ""

    def make_job() -> dict[str, Any]:
        nonlocal key
        data = _parse(payload)
        key = str(data.get("key", ""))
        return {"id": _submit(runtime, data, owner, key)}

    ticket = answer(make_job)
    return json.dumps({"key": key, **ticket})


def answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives, or `{"error": ...}`: the page always has something readable to show."""
    try:
        return work()
    except AtelierError as error:
        return {"error": error.to_json()}
    except Exception:
        log.exception("the page's request failed")
        cause = AtelierError("Something went wrong in the server.", "Its log says what; please report it.")
        return {"error": cause.to_json()}


def _submit(runtime: Runtime, data: Mapping[str, Any], owner: str, key: str) -> str:
    tab, fields, pictures = data.get("tab"), data.get("fields"), data.get("pictures") or {}
    if not isinstance(tab, str) or not isinstance(fields, dict) or not isinstance(pictures, dict):
        raise BadRequest("The page sent no form.", "Reload the page.")
    images = request_images(tab, pictures, runtime.inputs)
    references = {name: ref.model_dump() for name, ref in images.items()}
    request = parse_request({**fields, **references, "kind": tab})
    return str(runtime.jobs.submit(request, owner=owner, key=key or None))


def _parse(payload: str) -> dict[str, Any]:
    try:
        data = json.loads(payload)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise BadRequest("The page sent no form.", "Reload the page.")
    return data
