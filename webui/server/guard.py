"""Stands before everything else: refuses requests that the user's own page did not make, and bodies without end.

Pure ASGI on purpose: the middleware classes of Starlette hold event streams back.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from webui.server.hosts import Hosts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MEBI = 1 << 20
# A picture of 64 MB and the few bytes that a form puts around it.
UPLOAD_LIMIT = 65 * MEBI
BODY_LIMIT = 40 * MEBI
UPLOADS = ("/gradio_api/upload", "/api/v1/images", "/api/v1/png-info")
# Gradio serves here what was uploaded, whatever it is.
FOREIGN_FILES = ("/gradio_api/file", "/file")

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, browsers hide the origin of our own login form as well
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
SET_HERE = {name for name, _value in SAFE_HEADERS} | {b"content-security-policy"}
# What a proxy would say of itself. Nobody else may: Gradio builds addresses from these.
PROXY_HEADERS = (b"x-forwarded-host", b"x-gradio-server")


class Guard:
    """Wraps the whole application."""

    def __init__(self, app: App, hosts: Hosts, upload_limit: int = UPLOAD_LIMIT, body_limit: int = BODY_LIMIT) -> None:
        self._app = app
        self._hosts = hosts
        self._upload_limit = upload_limit
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await self._guard(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(receive, send, scope["path"], self._limit(scope["path"]))
        headers: Headers = scope["headers"]
        refusal = self._wrong_host(headers) or self._foreign_page(scope["method"], headers)
        refusal = refusal or exchange.too_large(headers)
        if refusal is not None:
            await exchange.refuse(*refusal)
            return
        try:
            await self._app({**scope, "headers": self._clean(headers)}, exchange.receive, exchange.send)
        except Exception:
            if not exchange.overflown:
                raise
        await exchange.close()

    def _limit(self, path: str) -> int:
        return self._upload_limit if path.startswith(UPLOADS) else self._body_limit

    def _wrong_host(self, headers: Headers) -> tuple[int, str] | None:
        hosts = values(headers, b"host")
        if len(hosts) == 1 and self._hosts.allows(hosts[0]):
            return None
        return 421, "This server does not answer to that name. --allowed-host adds one."

    def _foreign_page(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Whether another site's page makes this request. Programs that are no browsers send none of these headers."""
        (host,) = values(headers, b"host")
        origins = values(headers, b"origin")
        if origins and not (len(origins) == 1 and self._hosts.same_origin(origins[0], host)):
            return 403, "This request comes from a page of another site."
        site = first(headers, b"sec-fetch-site")
        if origins or site in ("", "same-origin", "none"):
            return None
        opened = first(headers, b"sec-fetch-mode") == "navigate" and first(headers, b"sec-fetch-dest") == "document"
        if opened and method in ("GET", "HEAD"):  # a link to here
            return None
        return 403, "This request comes from a page of another site."

    def _clean(self, headers: Headers) -> Headers:
        """The headers as the application may believe them."""
        kept = [(name, value) for name, value in headers if name not in PROXY_HEADERS]
        forwarded = first(headers, b"x-forwarded-host")
        if forwarded and self._hosts.allows(forwarded):
            kept.append((b"x-forwarded-host", forwarded.encode()))
        if self._hosts.is_public(first(headers, b"host")):
            kept = [(name, value) for name, value in kept if name != b"x-forwarded-proto"]
            kept.append((b"x-forwarded-proto", b"https"))
        return kept


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, path: str, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._foreign = path.startswith(FOREIGN_FILES)
        self._limit = limit
        self._received = 0
        self._started = False
        self.overflown = False

    def too_large(self, headers: Headers) -> tuple[int, str] | None:
        length = first(headers, b"content-length") or "0"
        if length.isascii() and length.isdigit() and int(length) <= self._limit:
            return None
        return 413, f"This is larger than {self._limit // MEBI} MiB."

    async def receive(self) -> Message:
        """The next piece of the body; one that goes on without end looks like a client that has gone."""
        if self.overflown:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            self.overflown = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.overflown and not self._started:
            return  # whatever the application makes of it: `close` says what was wrong
        if message["type"] == "http.response.start":
            self._started = True
            message = {**message, "headers": self._secured(message.get("headers", []))}
        await self._send(message)

    async def close(self) -> None:
        if self.overflown and not self._started:
            await self.refuse(413, f"This is larger than {self._limit // MEBI} MiB.")

    async def refuse(self, status: int, reason: str) -> None:
        body = json.dumps({"code": "refused", "message": reason, "cure": ""}).encode()
        headers = self._secured([(b"content-type", b"application/json"), (b"connection", b"close")])
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _secured(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Our own security headers, and no leave for other sites to read the answer."""
        kept = [
            (name, value)
            for name, value in headers
            if name.lower() not in SET_HERE and not name.lower().startswith(b"access-control-")
        ]
        policy = FILE_POLICY if self._foreign else PAGE_POLICY
        if self._foreign and not first(kept, b"content-type").startswith("image/"):
            kept = [(name, value) for name, value in kept if name.lower() != b"content-disposition"]
            kept.append((b"content-disposition", b"attachment"))
        return [*kept, *SAFE_HEADERS, (b"content-security-policy", policy.encode())]


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """All values of a header."""
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The first value of a header, or nothing."""
    return next(iter(values(headers, name)), "")
