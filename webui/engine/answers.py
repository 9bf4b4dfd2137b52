"""Answers questions that are no jobs: maps to look at, routes of extensions, how extensions are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError

from webui.control.geometry import Pixels
from webui.control.hints import Hints, Part
from webui.engine.extensions import Extensions
from webui.engine.memory.status import memory_status
from webui.engine.models import Models
from webui.engine.units import first_part, is_json
from webui.ext.signatures import asks_for
from webui.images.given import GivenPictures, read_given
from webui.schema.asks import Answer, Preprocess, RouteCall, What, name_of
from webui.schema.errors import AtelierError, BadRequest, ExtensionError
from webui.schema.images import ImageRef

Reply = Callable[[Answer, tuple[bytes, ...]], None]


@dataclass(frozen=True)
class Ask:
    """A question. body: as `webui.schema.asks` has it, images: sha256 -> PNG, reply: called once with the answer,
    begin: called before code of an extension runs for it."""

    what: What
    body: Mapping[str, Any]
    images: Mapping[str, bytes]
    reply: Reply
    begin: Callable[[], None] = lambda: None

    @property
    def runs_code(self) -> bool:
        """Whether an extension's code answers it."""
        return self.what in ("preprocess", "route")

    @property
    def name(self) -> str:
        """What the supervisor's clock calls it."""
        return name_of(self.what, self.body)

    def picture(self, ref: ImageRef) -> Image.Image:
        """Raises as `read_given` does."""
        return read_given(self.images, ref)


class Answers:
    """Answers questions with the extensions and models of one engine. busy: whether a job runs."""

    def __init__(self, extensions: Extensions, models: Models, busy: Callable[[], bool] = lambda: False) -> None:
        self._extensions = extensions
        self._models = models
        self._busy = busy

    def answer(self, ask: Ask) -> None:
        """Reply to a question; every error is a reply too."""
        try:
            with torch.inference_mode():
                answer, frames = self._found(ask)
        except ValidationError as error:
            answer, frames = Answer(error=BadRequest(str(error)).to_json()), ()
        except AtelierError as error:
            answer, frames = Answer(error=error.to_json()), ()
        except Exception as error:
            fault = AtelierError(f"{ask.name} failed: {type(error).__name__}: {error}", "The server's log says more.")
            answer, frames = Answer(error=fault.to_json()), ()
        ask.reply(answer, frames)

    def owners(self, ask: Ask) -> list[str]:
        """The extension that answered."""
        try:
            if ask.what == "route":
                return [str(ask.body.get("ext", ""))]
            unit = ask.body.get("unit", {})
            return [self._extensions.host.owner_of(unit["preprocessor"])] if ask.what == "preprocess" else []
        except (AtelierError, KeyError, TypeError):
            return []

    def _found(self, ask: Ask) -> tuple[Answer, tuple[bytes, ...]]:
        if ask.what == "preprocess":
            return self._map(ask, Preprocess.model_validate(dict(ask.body)))
        if ask.what == "route":
            return self._route(ask, RouteCall.model_validate(dict(ask.body)))
        if ask.what == "unload":
            self._unload()
        if ask.what in ("memory", "unload"):
            return Answer(body=memory_status(self._models)), ()
        return Answer(body={"extensions": [one.to_json() for one in self._extensions.host.report()]}), ()

    def _map(self, ask: Ask, question: Preprocess) -> tuple[Answer, tuple[bytes, ...]]:
        """The map of a unit as a job would make it; where `fit` is wanted, as its network would see it."""
        request, pictures = question.request, GivenPictures(ask.images).open
        hints = Hints(request, self._extensions.preprocessors(), self._extensions.maps, pictures)
        (unit,) = request.control
        body: dict[str, Any] = {}
        if not question.fit:
            found = hints.map(unit, Part(question.width, question.height))
            image = found.image
        else:
            part = first_part(request, question.width, pictures)
            seen = hints.seen(unit, part, part)
            masked = seen.mask is not None and self._extensions.control_hint(unit) == "inpaint"
            found, image = seen.made, seen.blackened if masked else seen.image
            body["masked"] = masked
        body |= {"data": found.data} if is_json(found.data) else {}
        return Answer(body=body, sizes=(size_of(image),)), (frame_of(image),)

    def _unload(self) -> None:
        """What a job uses stays until it is over."""
        if self._busy():
            self._models.garage.drop_idle()
        else:
            self._models.unload()
            self._extensions.drop()
        self._models.free_cache()

    def _route(self, ask: Ask, call: RouteCall) -> tuple[Answer, tuple[bytes, ...]]:
        """`route(body, images)` of an extension: a JSON object, or that and pictures (PIL)."""
        function = self._extensions.host.route(call.ext, call.name)
        more = {"models": self._extensions.model_files(call.ext)} if asks_for(function, "models") else {}
        answer = function(dict(call.body), [ask.picture(ref) for ref in call.images], **more)
        body, images = answer if isinstance(answer, tuple) else (answer, ())
        if not isinstance(body, dict) or not is_json(body):
            raise ExtensionError(
                f'Extension "{call.ext}": the route {call.name} did not return a JSON object.', "Mend its code."
            )
        pixels: Sequence[Pixels] = [np.asarray(image.convert("RGB"), np.uint8) for image in images]
        return Answer(body=body, sizes=tuple(map(size_of, pixels))), tuple(map(frame_of, pixels))


def size_of(pixels: Pixels) -> tuple[int, int]:
    """(h w 3) -> width, height."""
    return pixels.shape[1], pixels.shape[0]


def frame_of(pixels: Pixels) -> bytes:
    """(h w 3) as raw RGB."""
    return np.ascontiguousarray(pixels).tobytes()
