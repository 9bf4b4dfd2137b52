"""A request as it was typed -> the request as its job will run: model, size and seeds fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from webui.checkpoints.named import Checkpoints, usable, with_files
from webui.runtime.hashing import Hashed
from webui.runtime.inputs import Inputs
from webui.runtime.steering import Steering
from webui.schema.errors import BadRequest
from webui.schema.requests import ImageRef, Img2Img, Request
from webui.schema.resolve import default_model, enlarged, resolve
from webui.schema.results import ModelInfo

MIN_SIDE = 16


class Models(Hashed, Checkpoints, Protocol):
    """The checkpoints at hand (`webui.checkpoints.catalogue.Catalogue`)."""

    def list(self) -> Sequence[ModelInfo]:
        """All of them, also those that cannot be used."""


@dataclass(frozen=True)
class Desk:
    """Where requests are taken in: models, pictures and control units at hand, and the model that is meant by none."""

    models: Models
    inputs: Inputs
    steering: Steering
    default_model: str = ""

    def take(self, request: Request) -> tuple[Request, tuple[str, ...]]:
        """The request as its job will run, and notes for the user. Raises as `prepare` and `Steering.check` do."""
        return self.steering.check(prepare(request, self.models, self.inputs, self.default_model))

    def size(self, model: str, like: ImageRef | None = None) -> tuple[int, int]:
        """(width, height) of a picture whose size is left open: of the one it starts from, else the model's own.

        Raises:
            NotFound: there is no such model or picture.
        """
        if like is not None and not model:
            return self.inputs.size(like)
        found = self.models.find(model or default_model(self.models.list(), self.default_model))
        if like is not None:
            return enlarged(self.inputs.size(like), found.extra)
        return found.native_size, found.native_size


def prepare(request: Request, models: Models, inputs: Inputs, wanted_model: str = "") -> Request:
    """Check a request against the models and pictures at hand and fix what it leaves open.

    Raises:
        NotFound: no such model or picture. ModelError: a model's file cannot be used. BadRequest: a size is wrong, or
            the upscaler of a hires pass cannot lead to its checkpoint.
    """
    model = usable(models, request.model or default_model(models.list(), wanted_model))
    sizes = [inputs.size(ref) for ref in request.image_refs]
    init_size = enlarged(sizes[0], model.extra) if isinstance(request, Img2Img) else None
    fixed = resolve(request, model=model.name, native_size=model.native_size, init_size=init_size)
    if init_size is not None and min(fixed.width or 0, fixed.height or 0) < MIN_SIDE:
        raise BadRequest(
            f"The picture is only {sizes[0][0]}x{sizes[0][1]} pixels.",
            f"Use one of at least {MIN_SIDE} pixels a side, or set a width and height.",
        )
    return with_files(fixed, models)
