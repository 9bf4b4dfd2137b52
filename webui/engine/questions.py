"""Questions that wait for the engine's answer. Needs no torch."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from webui.engine.interface import Answered
from webui.engine.wire import Message
from webui.schema.asks import Answer, What, name_of
from webui.schema.errors import AtelierError, EngineDied


@dataclass(frozen=True)
class Question:
    """A question on its way to the engine. images: sha256 -> PNG."""

    id: str
    what: What
    body: Mapping[str, Any]
    images: Mapping[str, bytes]
    future: Future[Answered] = field(default_factory=Future)

    @property
    def name(self) -> str:
        """What it is called where it hangs or fails."""
        return name_of(self.what, self.body)

    def message(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """The question as it goes over the wire: JSON object, frames."""
        body = {"type": "ask", "id": self.id, "what": self.what, "body": dict(self.body), "images": list(self.images)}
        return body, tuple(self.images.values())


class Questions:
    """All questions that wait. Safe from several threads; each future is settled once, and never under the lock.

    A question in whose middle a child ended is remembered by its name: while a job runs, none of that name is sent
    again, so that nobody's job pays for it a second time. An answer to it, or a reload of code, clears its name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Question] = {}
        self._sent: set[str] = set()
        self._running: str | None = None
        self._deadly: set[str] = set()

    def add(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Question:
        question = Question(secrets.token_hex(8), what, body, images)
        with self._lock:
            self._waiting[question.id] = question
        return question

    def take(self, job_runs: bool) -> tuple[Question, ...]:
        """Those to be sent to the child now, oldest first; each is given once."""
        with self._lock:
            self._waiting = {id: one for id, one in self._waiting.items() if not one.future.cancelled()}
            fit = [one for one in self._waiting.values() if not (job_runs and one.name in self._deadly)]
            taken = tuple(one for one in fit if one.id not in self._sent)
            self._sent.update(one.id for one in taken)
            return taken

    def begun(self, id: str) -> None:
        """The child runs code of an extension for this question."""
        with self._lock:
            self._running = id

    def child_gone(self, why: str) -> str | None:
        """The child ended; the next one gets the questions that wait. That in whose middle it ended, if there is one,
        fails: its name is returned.

        why: how the child ended.
        """
        with self._lock:
            self._sent.clear()
            question = self._waiting.pop(self._running, None) if self._running is not None else None
            self._running = None
            if question is None:
                return None
            self._deadly.add(question.name)
        if question.future.set_running_or_notify_cancel():
            cure = "It starts again by itself. The extension may be at fault: try another picture or smaller values."
            question.future.set_exception(
                EngineDied(f"The engine stopped in the middle of {question.name}: {why}.", cure)
            )
        return question.name

    def reloaded(self) -> None:
        """Code was read anew: what it did before counts no more."""
        with self._lock:
            self._deadly.clear()

    def answered(self, message: Message) -> None:
        """Settle the question that the engine's message answers."""
        with self._lock:
            self._running = None
            question = self._waiting.pop(str(message.body["id"]), None)
            if question is not None:
                self._deadly.discard(question.name)
        if question is None or not question.future.set_running_or_notify_cancel():
            return
        answer = Answer.model_validate(message.body["answer"])
        if answer.error is not None:
            question.future.set_exception(AtelierError.from_json(answer.error))
        else:
            question.future.set_result((answer, message.frames))

    def fail(self, error: AtelierError) -> None:
        """The engine is gone: every question that waits gets this error."""
        with self._lock:
            lost, self._waiting = tuple(self._waiting.values()), {}
            self._sent.clear()
        for question in lost:
            if question.future.set_running_or_notify_cancel():
                question.future.set_exception(error)
