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
from webui.schema.asks import Answer, What
from webui.schema.errors import AtelierError


@dataclass(frozen=True)
class Question:
    """A question on its way to the engine. images: sha256 -> PNG."""

    id: str
    what: What
    body: Mapping[str, Any]
    images: Mapping[str, bytes]
    future: Future[Answered] = field(default_factory=Future)

    def message(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """The question as it goes over the wire: JSON object, frames."""
        body = {"type": "ask", "id": self.id, "what": self.what, "body": dict(self.body), "images": list(self.images)}
        return body, tuple(self.images.values())


class Questions:
    """All questions that wait. Safe from several threads; each future is settled once, and never under the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Question] = {}

    def add(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Question:
        question = Question(secrets.token_hex(8), what, body, images)
        with self._lock:
            self._waiting[question.id] = question
        return question

    def waiting(self) -> tuple[Question, ...]:
        """Those without an answer, oldest first."""
        with self._lock:
            return tuple(self._waiting.values())

    def answered(self, message: Message) -> None:
        """Settle the question that the engine's message answers."""
        with self._lock:
            question = self._waiting.pop(str(message.body["id"]), None)
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
        for question in lost:
            if question.future.set_running_or_notify_cancel():
                question.future.set_exception(error)
