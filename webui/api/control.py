"""Control units over HTTP: what they can be made of, and maps to look at."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from webui.api.identity import current_user
from webui.api.native import KEPT, PREFIX
from webui.runtime.questions import Questions
from webui.runtime.runtime import Runtime
from webui.runtime.steering import describe_model, describe_preprocessor
from webui.schema.asks import Preprocess
from webui.schema.control import MAX_UNITS, NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import BadImage, NotFound
from webui.schema.fields import Parameter, parameters
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Request, parse_request

Side = Annotated[int | None, Field(ge=16, le=8192)]


class PreprocessBody(BaseModel):
    """A unit, or an `id` of a preprocessor with its `params` and `resolution`. image: a picture that was handed in, or
    its bytes in base64; left open, the unit's own, else the tab's; none for preprocessors that look at no picture.
    tab: a request as for `/jobs`, whose pictures, resize mode, mask and inpaint area then count as they do in a job.
    width, height: of the picture to be drawn; left open, of the tab or its picture, of `like` (a picture that was
    handed in), else the size of the model. fit: what the model sees, after crop and resize."""

    model_config = ConfigDict(extra="forbid")
    id: str = NO_PREPROCESSOR
    params: dict[str, Any] = Field(default_factory=dict)
    resolution: Annotated[int | None, Field(ge=64, le=2048)] = None
    unit: ControlUnit | None = None
    image: ImageRef | str | None = None
    tab: dict[str, Any] | None = None
    width: Side = None
    height: Side = None
    model: str = ""
    like: ImageRef | None = None
    fit: bool = False
    seed: Annotated[int | None, Field(ge=0)] = None


def build_router(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(current_user)])
    _add_lists(router, runtime)
    _add_maps(router, runtime, runtime.questions)
    return router


def _add_lists(router: APIRouter, runtime: Runtime) -> None:
    steering = runtime.steering

    @router.get("/control")
    def control() -> dict[str, Any]:
        """All that the page needs to draw units."""
        fields = [describe_field(item) for item in parameters(ControlUnit)]
        return {"fields": fields, "max_units": MAX_UNITS, **types(), **models(), **preprocessors()}

    @router.get("/control/types")
    def types() -> dict[str, Any]:
        """Control type -> its preprocessors and models, and the first of each."""
        return {"types": steering.types()}

    @router.get("/control/models")
    def models() -> dict[str, Any]:
        """All files below models/ControlNet, with the reason where one cannot be used."""
        return {"models": [describe_model(model) for model in steering.catalogue.list()]}

    @router.get("/control/preprocessors")
    def preprocessors() -> dict[str, Any]:
        """All preprocessors of extensions that are on, with their parameters."""
        made = steering.extensions.preprocessors.values()
        missing = runtime.downloads.missing
        told = [
            describe_preprocessor(manifest, spec) | {"missing": missing(manifest, spec.models)}
            for manifest, spec in made
        ]
        return {"preprocessors": told}


def _add_maps(router: APIRouter, runtime: Runtime, questions: Questions) -> None:
    @router.post("/preprocess")
    def preprocess(body: PreprocessBody) -> dict[str, Any]:
        """The map of a picture, kept so that a request can name it; answered between two steps of a running job."""
        made = questions.preprocess(_question(runtime, body))
        size = {"width": made.width, "height": made.height}
        return {"image": made.image.model_dump(), **size, "data": made.data, "masked": made.masked}

    @router.get("/inputs/{sha256}.png")
    def handed_in(sha256: str) -> FileResponse:
        """A picture that was handed in, for those who know its sha256."""
        try:
            path = runtime.inputs.path(ImageRef(sha256=sha256))
        except ValueError:
            path = None
        if path is None or not path.is_file():
            raise NotFound("There is no such picture.", "Hand it in again.")
        return FileResponse(path, media_type="image/png", headers=KEPT)


def describe_field(item: Parameter) -> dict[str, Any]:
    """A declared field in the words in which manifests declare parameters."""
    kind = "choice" if item.choices else {bool: "bool", int: "int", float: "float"}.get(item.type, "text")
    return {
        "id": item.name, "label": item.title, "type": kind, "min": item.minimum, "max": item.maximum,
        "step": item.step, "default": item.default, "choices": list(item.choices or ()), "help": item.help,
    }  # fmt: skip


def _question(runtime: Runtime, body: PreprocessBody) -> Preprocess:
    image = runtime.inputs.add(_decoded(body.image)) if isinstance(body.image, str) else body.image
    unit = body.unit or ControlUnit(preprocessor=body.id, params=body.params)
    if body.resolution is not None:
        unit = ControlUnit.model_validate(unit.model_dump() | {"resolution": body.resolution})
    tab = None if body.tab is None else parse_request(body.tab)
    width, height = _size(runtime, body, tab)
    seed = body.seed if body.seed is not None else max(tab.seed, 0) if tab is not None else 0
    return Preprocess(unit=unit, image=image, tab=tab, width=width, height=height, fit=body.fit, seed=seed)


def _size(runtime: Runtime, body: PreprocessBody, tab: Request | None) -> tuple[int, int]:
    """(width, height) of the picture that shall be drawn."""
    wanted = (None, None) if tab is None else (tab.width, tab.height)
    width, height = body.width or wanted[0], body.height or wanted[1]
    if width is not None and height is not None:
        return width, height
    like = tab.init_image if isinstance(tab, Img2Img) else body.like
    own = runtime.desk.size(body.model or (tab.model if tab is not None else ""), like)
    return width or own[0], height or own[1]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise BadImage("The picture is no base64.", "Hand it in at /api/v1/images and give its sha256.") from None
