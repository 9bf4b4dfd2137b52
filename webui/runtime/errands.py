"""Downloads and conversions of model files in the background, one after another, when a user says so."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Literal

from webui.fetch.receive import Progress
from webui.schema.errors import AtelierError, NotFound

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "cancelled"]
LAST_WORDS = 3.0
"""Seconds in which an errand may notice that the server ends."""
KEPT = 50
"""Errands that are told of after they have ended."""


@dataclass(frozen=True)
class Errand:
    """what: as the user said it; done, total: bytes, 0 where nobody knows; rate: bytes in a second; message: what came
    of it, or why it failed."""

    id: str
    title: str
    state: State = "waiting"
    file: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    message: str = ""
    cure: str = ""


Work = Callable[[Progress], str]
"""Does it, and says what came of it; the progress that it calls may end it."""


class _Cancelled(Exception):
    """Somebody does not want it any more: what has come is kept."""


class Errands:
    """One thread that works them off."""

    def __init__(self) -> None:
        self._errands: dict[str, Errand] = {}
        self._unwanted: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._waiting: SimpleQueue[tuple[str, Work] | None] = SimpleQueue()
        self._worker = threading.Thread(target=self._work, daemon=True, name="errands")
        self._worker.start()

    def start(self, title: str, work: Work) -> Errand:
        """Work it off after those that wait."""
        errand = Errand(secrets.token_hex(8), title)
        with self._lock:
            self._errands[errand.id] = errand
            over = [id for id, known in self._errands.items() if known.state not in ("waiting", "running")]
            for id in over[:-KEPT]:
                del self._errands[id]
        self._waiting.put((errand.id, work))
        return errand

    def list(self) -> list[Errand]:
        """All of them, the latest last."""
        with self._lock:
            return [*self._errands.values()]

    def cancel(self, id: str) -> None:
        """End an errand; what has come of a download is kept for the next one. Raises NotFound."""
        with self._lock:
            errand = self._errands.get(id)
            if errand is None:
                raise NotFound("There is no such download.")
            self._unwanted.add(id)
            if errand.state == "waiting":
                self._errands[id] = replace(errand, state="cancelled")

    def close(self) -> None:
        """End what runs; a server that does not answer is not waited for."""
        self._closed.set()
        self._waiting.put(None)
        self._worker.join(LAST_WORDS)

    def _work(self) -> None:
        while (found := self._waiting.get()) is not None and not self._closed.is_set():
            self._run(*found)

    def _run(self, id: str, work: Work) -> None:
        began, first = time.monotonic(), -1

        def progress(file: str, done: int, total: int) -> None:
            nonlocal first
            if self._closed.is_set() or id in self._unwanted:
                raise _Cancelled
            first = done if first < 0 else first
            seconds = max(time.monotonic() - began, 0.1)
            self._tell(id, state="running", file=file, done=done, total=total, rate=max(0, done - first) / seconds)

        if id in self._unwanted:
            return
        self._tell(id, state="running")
        try:
            self._tell(id, state="done", message=work(progress))
        except _Cancelled:
            self._tell(id, state="cancelled")
        except AtelierError as error:
            self._tell(id, state="failed", message=error.message, cure=error.cure)
        except Exception:
            log.exception("an errand failed")
            self._tell(id, state="failed", message="Something went wrong in the server. Its log says what.")

    def _tell(self, id: str, **changes: object) -> None:
        with self._lock:
            if id in self._errands:
                self._errands[id] = replace(self._errands[id], **changes)  # type: ignore[arg-type]
