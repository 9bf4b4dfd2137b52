"""What a job says while it runs: events, each note once, and its calls under the supervisor's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from webui.schema.events import Event, Note, Stage

Emit = Callable[[Event, bytes | None], None]
Watch = Callable[[str, float | None], None]
"""watch(kind, None) before a call into the model, watch(kind, seconds) after it: what the supervisor's clock reads."""
T = TypeVar("T")


class Telling:
    """One job's. between: called between two calls into the model, for questions that wait; the extensions that
    answered. asked: all of those."""

    def __init__(self, job_id: str, emit: Emit, watch: Watch, between: Callable[[], Sequence[str]]) -> None:
        self.job_id = job_id
        self.asked: set[str] = set()
        self._emit = emit
        self._watch = watch
        self._between = between
        self._notes: set[str] = set()

    def event(self, event: Event, blob: bytes | None = None) -> None:
        self._emit(event, blob)

    def stage(self, message: str) -> None:
        self._emit(Stage(job_id=self.job_id, message=message), None)

    def note(self, message: str) -> None:
        """Tell the user once."""
        if message not in self._notes:
            self._notes.add(message)
            self._emit(Note(job_id=self.job_id, message=message), None)

    def timed(self, kind: str, call: Callable[[], T]) -> T:
        """Run a call under the supervisor's clock; then questions that wait are answered."""
        self._watch(kind, None)
        begun = time.monotonic()
        try:
            return call()
        finally:
            self._watch(kind, time.monotonic() - begun)
            self.asked.update(self._between())
