"""The job that the engine has now, as its supervisor keeps it. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from webui.schema.events import Event, ImageReady, MapReady, Note, Started, UnitReport
from webui.schema.requests import Request


class HandedJob:
    """One job. It may be begun anew in another process; what was told of it already is not told twice.

    images: sha256 -> PNG. begun: the child that runs now has begun it. again: it was begun anew once. stopped: its
    owner does not want the rest of it.
    """

    def __init__(self, id: str, request: Request, images: Mapping[str, bytes]) -> None:
        self.id = id
        self.begun = self.again = self.stopped = False
        self._request = request
        self._images = images
        self._told: Counter[Hashable] = Counter()
        self._seen: Counter[Hashable] = Counter()

    @property
    def body(self) -> dict[str, Any]:
        """What it is, as it goes over the wire."""
        return {"job_id": self.id, "request": self._request.model_dump(mode="json")}

    def message(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """The whole job as it goes over the wire: JSON object, frames."""
        return {**self.body, "type": "job", "images": list(self._images)}, tuple(self._images.values())

    def begin_anew(self) -> None:
        """The child that had begun it is gone; the next one draws it from its start."""
        self.begun, self.again = False, True
        self._seen.clear()

    def is_new(self, event: Event) -> bool:
        """Whether an event of the child is to be passed on: pictures, maps, reports and notes that an earlier child
        told are not."""
        self.begun = self.begun or isinstance(event, Started)
        key = _once(event)
        if key is None:
            return True
        self._seen[key] += 1
        if self._seen[key] <= self._told[key]:
            return False
        self._told[key] = self._seen[key]
        return True


def _once(event: Event) -> Hashable | None:
    """What an event is about, where it must not be told twice; a picture may have others of its number beside it."""
    match event:
        case ImageReady():
            return event.type, event.index
        case MapReady():
            return event.type, event.unit, event.label
        case UnitReport():
            return event.type, event.unit, event.part
        case Note():
            return event.type, event.message
    return None
