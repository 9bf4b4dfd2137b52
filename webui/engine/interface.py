"""What the runtime knows of an engine. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from webui.schema.events import Event
from webui.schema.requests import Request

Mode = Literal["interrupt", "skip"]
OnEvent = Callable[[Event, bytes | None], None]
"""on_event(event, blob): called from a thread of the engine's own; `blob` holds the pixels or the JPEG of the event."""


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

    def start(self) -> None:
        """Get ready; returns at once."""

    def stop(self) -> None:
        """End, with whatever runs; returns when it has ended."""

    def submit(self, job_id: str, request: Request, images: Mapping[str, bytes]) -> None:
        """Hand over a job; returns at once. images: sha256 -> PNG, one for each of `request.image_refs`."""

    def cancel(self, job_id: str, mode: Mode) -> None:
        """End the job ("interrupt") or its present batch ("skip"); a job that is not known is left alone."""


EngineFactory = Callable[[OnEvent], EngineLike]
"""Makes an engine that tells its events to the function given; it is not started yet."""
