"""Who is logged in. A browser holds a random token; the server keeps its digest, so its file opens nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.runtime.files import write_atomically

log = logging.getLogger(__name__)
LIFETIME = 7 * 24 * 3600.0
MOST = 1000


@dataclass(frozen=True)
class Session:
    """user; verifier: names the password it was opened with; expires: seconds since 1970."""

    user: str
    verifier: str
    expires: float


class Sessions:
    """Open sessions, kept in a file over a restart."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._open = _read(file)

    def open(self, user: str, verifier: str) -> str:
        """A new session; returns its token."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            alive = [(key, session) for key, session in self._open.items() if session.expires > now]
            self._open = dict(alive[-(MOST - 1) :])
            self._open[_digest(token)] = Session(user, verifier, now + LIFETIME)
            self._write()
        return token

    def get(self, token: str) -> Session | None:
        """The session of this token while it lasts."""
        session = self._open.get(_digest(token))
        return session if session is not None and session.expires > self._clock() else None

    def close(self, token: str) -> None:
        """The token is worth nothing from now on."""
        with self._lock:
            if self._open.pop(_digest(token), None) is not None:
                self._write()

    def _write(self) -> None:
        data = {key: asdict(session) for key, session in self._open.items()}
        try:
            write_atomically(self._file, json.dumps(data).encode())
        except OSError as error:  # a full disk: the session lasts as long as the server
            log.error("sessions are not kept over a restart: %s", error)


def _read(file: Path) -> dict[str, Session]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {key: _session(item) for key, item in data.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError):  # missing or damaged: everybody logs in again
        return {}


def _session(item: dict[str, Any]) -> Session:
    return Session(str(item["user"]), str(item["verifier"]), float(item["expires"]))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
