"""Talking to an ASGI application with exactly the bytes that a test wants: no client library tidies them up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webui.server.guard import App, Message, first


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        return first(self.headers, name.encode())

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: App,
    method: str = "GET",
    path: str = "/",
    headers: Sequence[tuple[str, str]] = (("host", "127.0.0.1:7860"),),
    body: Sequence[bytes] = (b"",),
    client: str = "127.0.0.1",
) -> Reply:
    """One request. body: its pieces, as they arrive."""
    sent: list[Message] = []
    pieces = list(body)

    async def receive() -> Message:
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": raw, "client": (client, 50000), "server": ("127.0.0.1", 7860), "state": {},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, "one answer to one request"
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Reply(starts[0]["status"], list(starts[0]["headers"]), content)
