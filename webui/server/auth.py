"""Who is asking. A session cookie or HTTP Basic is accepted on every path; without either only `PUBLIC` is open."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from anyio import to_thread

from webui.api.identity import LOCAL, USER_KEY
from webui.server.guard import App, Headers, Receive, Scope, Send, first
from webui.server.passwords import Users
from webui.server.sessions import LIFETIME, Sessions
from webui.server.throttle import Throttle

PUBLIC = frozenset({"/login"})
REMEMBERED = 300.0


@dataclass(frozen=True)
class Answer:
    """Of a try to log in: a token, or how long to wait (in seconds) before the next try, or neither: it was wrong."""

    token: str = ""
    wait: float = 0.0


class Login:
    """Checks passwords and keeps sessions. cookie: its name, one for each installation."""

    def __init__(
        self, users: Users, sessions: Sessions, cookie: str, throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.cookie = cookie
        self._users = users
        self._sessions = sessions
        self._throttle = throttle or Throttle()
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._remembered: dict[bytes, tuple[str, float]] = {}

    def log_in(self, user: str, password: str, address: str) -> Answer:
        """Try a password. Takes some 50 ms, so not for an event loop."""
        wait = self._try(user, password, address)
        if wait is None:
            return Answer(token=self._sessions.open(user, self._users.verifier_name(user) or ""))
        return Answer(wait=wait)

    def log_out(self, headers: Headers) -> None:
        """Close the session of these request headers."""
        self._sessions.close(self._token(headers))

    def session_user(self, headers: Headers) -> str | None:
        """Whose session the cookie names; one opened with a password that has changed since is none."""
        token = self._token(headers)
        session = self._sessions.get(token) if token else None
        if session is None or self._users.verifier_name(session.user) != session.verifier:
            return None
        return session.user

    def basic_user(self, headers: Headers, address: str) -> str | None:
        """Whose name and password the Authorization header holds. May take 50 ms. A right one is remembered a while."""
        text = first(headers, b"authorization")
        key = hmac.digest(self._salt, text.encode(), hashlib.sha256)
        user, until = self._remembered.get(key, ("", 0.0))
        if until > self._clock():
            return user
        user, password = _basic(text)
        if not user or self._try(user, password, address) is not None:
            return None
        if len(self._remembered) >= 1000:
            self._remembered.clear()
        self._remembered[key] = (user, self._clock() + REMEMBERED)
        return user

    def set_cookie(self, token: str, secure: bool) -> str:
        """The Set-Cookie header of a new session; an empty token removes the cookie."""
        age = int(LIFETIME) if token else 0
        value = f"{self.cookie}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"
        return f"{value}; Secure" if secure else value

    def _try(self, user: str, password: str, address: str) -> float | None:
        """None: it is right. Else the seconds to wait before the next try; 0: it was tried and is wrong."""
        keys = (f"user {user}", f"address {address}")
        wait = self._throttle.begin(keys)
        if wait > 0:
            return math.ceil(wait)
        if not self._users.accepts(user, password):
            return 0.0
        self._throttle.succeeded(keys)
        return None

    def _token(self, headers: Headers) -> str:
        try:
            cookies = SimpleCookie(first(headers, b"cookie"))
        except CookieError:
            return ""
        return cookies[self.cookie].value if self.cookie in cookies else ""


class Wall:
    """Lets nobody in whom `login` does not know. login None: everybody is `LOCAL`."""

    def __init__(self, app: App, login: Login | None) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        user = await self._user(scope)
        if user is None and scope["path"] not in PUBLIC:
            await _turn_away(scope, send)
            return
        await self._app({**scope, USER_KEY: user}, receive, send)

    async def _user(self, scope: Scope) -> str | None:
        if self._login is None:
            return LOCAL
        headers = scope["headers"]
        user = self._login.session_user(headers)
        if user is None and first(headers, b"authorization"):
            user = await to_thread.run_sync(self._login.basic_user, headers, address_of(scope))
        return user


def address_of(scope: Scope) -> str:
    """Where the connection comes from. Through a tunnel everybody has the same address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _turn_away(scope: Scope, send: Send) -> None:
    headers: Headers = scope["headers"]
    if scope["method"] == "GET" and "text/html" in first(headers, b"accept"):
        await _to_login(headers, send)
        return
    extra = [] if first(headers, b"sec-fetch-mode") else [(b"www-authenticate", b'Basic realm="Atelier"')]
    body = {"code": "login", "message": "You are not logged in.", "cure": "Log in at /login, or send HTTP Basic."}
    await _send(send, 401, [(b"content-type", b"application/json"), *extra], json.dumps(body).encode())


async def _to_login(headers: Headers, send: Send) -> None:
    """On to the login page. A link followed from another site carries no cookie yet (SameSite=Strict); a page that
    leads on by itself makes the next request our own, and whoever is logged in passes."""
    if first(headers, b"sec-fetch-site") == "cross-site":
        page = b'<!doctype html><meta http-equiv="refresh" content="0;url=/login"><title>Atelier</title>'
        await _send(send, 200, [(b"content-type", b"text/html; charset=utf-8")], page)
    else:
        await _send(send, 303, [(b"location", b"/login")], b"")


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"cache-control", b"no-store"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _basic(header: str) -> tuple[str, str]:
    scheme, _space, text = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
