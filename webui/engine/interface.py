"""What the runtime knows of an engine. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal, Protocol

from webui.schema.asks import Answer, What
from webui.schema.events import Event
from webui.schema.requests import Request

Mode = Literal["interrupt", "skip"]
OnEvent = Callable[[Event, bytes | None], None]
"""on_event(event, blob): called from a thread of the engine's own; `blob` holds the pixels or the JPEG of the event."""

Answered = tuple[Answer, tuple[bytes, ...]]
"""An answer without an error, and the raw RGB pixels (h w 3) of its pictures, one for each of `Answer.sizes`."""


class EngineLike(Protocol):
    """Something that draws: a supervised child process, or one in this process.

    It is handed one job at a time. Each job gets exactly one Done or Failed event, after all its other events; only
    `stop` ends a job without.
    """

    @property
    def ready(self) -> bool:
        """Whether a job handed over now starts at once."""

    @property
    def message(self) -> str:
        """How the engine is, in one line for the user."""

    @property
    def faults(self) -> Mapping[str, str]:
        """Extensions that run no more until they are reloaded, by id: why. Known while the engine starts, too."""

    def start(self) -> None:
        """Get ready; returns at once."""

    def stop(self) -> None:
        """End, with whatever runs; returns when it has ended."""

    def submit(self, job_id: str, request: Request, images: Mapping[str, bytes]) -> None:
        """Hand over a job; returns at once. images: sha256 -> PNG, one for each of `request.image_refs`."""

    def cancel(self, job_id: str, mode: Mode) -> None:
        """End the job ("interrupt") or its present batch ("skip"); a job that is not known is left alone."""

    def ask(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Future[Answered]:
        """Ask something that is no job; answered between two model calls of whatever runs. Returns at once.

        body: the question as JSON (`webui.schema.asks`); images: sha256 -> PNG, one for each of its `image_refs`.
        The future raises the AtelierError of an answer that failed, EngineDied where the engine ended before it.
        """

    def refresh_extensions(self, reload: Sequence[str] = ()) -> None:
        """Before the next job: read the extension folders and their state anew, and the code of these ids."""


EngineFactory = Callable[[OnEvent], EngineLike]
"""Makes an engine that tells its events to the function given; it is not started yet."""
