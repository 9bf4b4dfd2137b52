"""What faces ask the engine beside its jobs: maps to look at, routes of extensions, how extensions are."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as AnswerTimeout
from dataclasses import dataclass
from typing import Any

from PIL import Image

from webui.engine.interface import Answered, EngineLike
from webui.images.save import png_bytes
from webui.runtime.inputs import Inputs
from webui.runtime.prepare import Desk
from webui.schema.asks import Preprocess, RouteCall, What
from webui.schema.control import NO_PREPROCESSOR
from webui.schema.errors import AtelierError, BadRequest, EngineDied, NotFound
from webui.schema.images import ImageRef

LONGEST_MAP = 600.0
LONGEST_ROUTE = 600.0
LONGEST_REPORT = 3.0
LONGEST_UNLOAD = 60.0


@dataclass(frozen=True)
class MadeMap:
    """A map as it is kept beside pictures that were handed in. data: what belongs to it, as the joints of a pose.
    masked: whether black stands where the model sees -1, the mask of an inpaint network."""

    image: ImageRef
    width: int
    height: int
    data: Any = None
    masked: bool = False


class Questions:
    """Asks the engine, and keeps the pictures of its answers where requests can name them."""

    def __init__(self, engine: EngineLike, inputs: Inputs, desk: Desk) -> None:
        self._engine = engine
        self._inputs = inputs
        self._desk = desk
        self._last_report: list[Mapping[str, Any]] = []

    def preprocess(self, question: Preprocess) -> MadeMap:
        """The map of a unit, or what the model sees of it.

        Raises:
            BadRequest: its preprocessor is not there or a parameter is wrong, or there is no picture where it looks at
                one. NotFound: a picture is gone.
            AtelierError: the preprocessor failed, or the engine did.
        """
        unit = self._desk.steering.filled(question.unit)
        picture = question.source
        if picture is None and self._desk.steering.looks(unit.preprocessor):
            raise BadRequest("There is no picture to make a map of.", "Give the unit one.")
        if picture is not None and unit.preprocessor == NO_PREPROCESSOR and not question.fit:
            width, height = self._inputs.size(picture)
            return MadeMap(picture, width, height)
        fixed = question.model_copy(update={"unit": unit})
        answer, frames = self._ask("preprocess", fixed, LONGEST_MAP)
        if not answer.sizes:
            raise AtelierError("The preprocessor gave no picture.", "Choose another one.")
        (width, height), pixels = answer.sizes[0], frames[0]
        masked = bool(answer.body.get("masked"))
        return MadeMap(self._keep((width, height), pixels), width, height, answer.body.get("data"), masked)

    def route(self, call: RouteCall) -> tuple[dict[str, Any], tuple[ImageRef, ...]]:
        """What an extension's route answers: JSON, and pictures.

        Raises:
            NotFound: there is no such route. AtelierError: it failed.
        """
        declared = {manifest.id: manifest.routes for manifest in self._desk.steering.extensions.ready}
        if call.name not in [route.name for route in declared.get(call.ext, ())]:
            raise NotFound(f"The extension {call.ext!r} has no route {call.name!r}.", "It may be switched off.")
        answer, frames = self._ask("route", call, LONGEST_ROUTE)
        return answer.body, tuple(self._keep(size, frame) for size, frame in zip(answer.sizes, frames, strict=True))

    def report(self) -> list[Mapping[str, Any]]:
        """How extensions are in the engine: only those that failed while it starts, what it said last while it is too
        busy."""
        self._last_report = self._ask_report() if self._engine.ready else self._failed()
        return self._last_report

    def memory(self, unload: bool = False) -> Mapping[str, Any]:
        """What is used and free of memory, and what is loaded; unload: let go first of all that no job uses.

        Raises:
            EngineDied: the engine starts, is too busy, or is gone.
        """
        if not self._engine.ready:
            raise EngineDied("The engine is starting.", "Ask again in a few seconds.")
        future = self._engine.ask("unload" if unload else "memory", {}, {})
        try:
            answer, _frames = future.result(LONGEST_UNLOAD if unload else LONGEST_REPORT)
        except AnswerTimeout:
            future.cancel()
            raise EngineDied("The engine is busy.", "Ask again between two steps of the job.") from None
        return answer.body

    def _ask_report(self) -> list[Mapping[str, Any]]:
        future = self._engine.ask("report", {}, {})
        try:
            answer, _frames = future.result(LONGEST_REPORT)
        except AnswerTimeout:
            future.cancel()
            return self._last_report
        except AtelierError:
            return self._failed()
        return list(answer.body.get("extensions", []))

    def _failed(self) -> list[Mapping[str, Any]]:
        return [{"id": id, "state": "failed", "reason": reason} for id, reason in self._engine.faults.items()]

    def _ask(self, what: What, question: Preprocess | RouteCall, patience: float) -> Answered:
        images = {ref.sha256: self._inputs.read(ref) for ref in question.image_refs}
        future = self._engine.ask(what, question.model_dump(mode="json"), images)
        try:
            return future.result(patience)
        except AnswerTimeout:
            future.cancel()
            raise EngineDied("The engine has not answered.", "Look at how the running job goes on.") from None

    def _keep(self, size: tuple[int, int], pixels: bytes) -> ImageRef:
        try:
            image = Image.frombytes("RGB", size, pixels)
        except ValueError as error:
            raise BadRequest(f"The answer is no picture: {error}.") from None
        return self._inputs.add(png_bytes(image))
