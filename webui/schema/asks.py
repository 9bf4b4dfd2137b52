"""Questions to an engine that are no jobs: they are answered between two model calls of whatever runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from webui.schema.control import ControlUnit
from webui.schema.images import ImageRef

What = Literal["preprocess", "route", "report"]


def name_of(what: What, body: Mapping[str, Any]) -> str:
    """What a question is called where it hangs or fails: "preprocess canny", "route clip_rank"."""
    unit = body.get("unit")
    about = unit.get("preprocessor", "") if isinstance(unit, dict) else body.get("ext", "")
    return f"{what} {about}".strip()


class Preprocess(BaseModel):
    """The map of one unit. image: what it is made from (the unit's own picture, or the tab's); None for preprocessors
    that look at none.

    width, height: the picture that shall be drawn, in pixels; they decide a pixel-perfect resolution.
    fit: answer with what the model sees, after crop and resize to width x height, in the place of the bare map.
    seed: of preprocessors that draw random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    unit: ControlUnit
    image: ImageRef | None = None
    width: int = Field(512, ge=16, le=8192)
    height: int = Field(512, ge=16, le=8192)
    fit: bool = False
    seed: int = Field(0, ge=0)

    @property
    def image_refs(self) -> tuple[ImageRef, ...]:
        return tuple(ref for ref in (self.image, *self.unit.image_refs) if ref is not None)


class RouteCall(BaseModel):
    """A call of a function that an extension declares as a route: JSON and pictures in, JSON and pictures out."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ext: str
    name: str
    body: dict[str, Any] = Field(default_factory=dict)
    images: tuple[ImageRef, ...] = ()

    @property
    def image_refs(self) -> tuple[ImageRef, ...]:
        return self.images


class Answer(BaseModel):
    """What came of a question. sizes: (width, height) of the pictures that travel beside it as raw RGB (h w 3).

    error: `AtelierError.to_json` where it failed; then there is nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    body: dict[str, Any] = Field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    error: dict[str, str] | None = None
