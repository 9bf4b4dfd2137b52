"""A request as it was typed -> the request as its job will run: model, size and seeds fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from webui.runtime.hashes import Hashed
from webui.runtime.inputs import Inputs
from webui.schema.errors import BadRequest, ModelError
from webui.schema.requests import Img2Img, Request
from webui.schema.resolve import default_model, resolve
from webui.schema.results import ModelInfo

MIN_SIDE = 16


class Models(Hashed, Protocol):
    """The checkpoints at hand (`webui.checkpoints.catalogue.Catalogue`)."""

    def list(self) -> Sequence[ModelInfo]:
        """All of them, also those that cannot be used."""

    def find(self, name: str) -> ModelInfo:
        """The one of this name. Raises NotFound."""


def prepare(request: Request, models: Models, inputs: Inputs, wanted_model: str = "") -> Request:
    """Check a request against the models and pictures at hand and fix what it leaves open.

    Raises:
        NotFound: no such model or picture. ModelError: the model's file cannot be used. BadRequest: a size is wrong.
    """
    model = models.find(request.model or default_model(models.list(), wanted_model))
    if model.error:
        raise ModelError(f"The model {model.name} cannot be used: {model.error}", "Choose another one.")
    sizes = [inputs.size(ref) for ref in request.image_refs]
    init_size = sizes[0] if isinstance(request, Img2Img) else None
    fixed = resolve(request, model=model.name, native_size=model.native_size, init_size=init_size)
    if init_size is not None and min(fixed.width or 0, fixed.height or 0) < MIN_SIDE:
        raise BadRequest(
            f"The picture is only {init_size[0]}x{init_size[1]} pixels.",
            f"Use one of at least {MIN_SIDE} pixels a side, or set a width and height.",
        )
    return fixed
