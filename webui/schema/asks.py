"""Questions to an engine that are no jobs: they are answered between two model calls of whatever runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from webui.schema.control import ControlUnit
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Request, Txt2Img

What = Literal["preprocess", "route", "report", "memory", "unload"]


def name_of(what: What, body: Mapping[str, Any]) -> str:
    """What a question is called where it hangs or fails: "preprocess canny", "route clip_rank"."""
    unit = body.get("unit")
    about = unit.get("preprocessor", "") if isinstance(unit, dict) else body.get("ext", "")
    return f"{what} {about}".strip()


class Preprocess(BaseModel):
    """The map of one unit. image: what it is made from, in the place of the unit's own picture; None: that one, else
    the tab's.

    tab: the request that the unit is for, of which all counts that maps follow from: its kind and pictures, the resize
    mode, mask and inpaint area. None: one that starts from no picture.
    width, height: the picture that shall be drawn, in pixels; they decide a pixel-perfect resolution.
    fit: answer with what the model sees: after crop and resize to width x height, of "Only masked" that part alone, in
    the place of the bare map of the whole picture.
    seed: of preprocessors that draw random numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    unit: ControlUnit
    image: ImageRef | None = None
    tab: Request | None = None
    width: int = Field(512, ge=16, le=8192)
    height: int = Field(512, ge=16, le=8192)
    fit: bool = False
    seed: int = Field(0, ge=0)

    @property
    def image_refs(self) -> tuple[ImageRef, ...]:
        own = () if self.tab is None else self.tab.own_image_refs
        return tuple(ref for ref in (self.image, *own, *self.unit.image_refs) if ref is not None)

    @property
    def source(self) -> ImageRef | None:
        """The picture that the map is made from."""
        tab = self.tab.init_image if isinstance(self.tab, Img2Img) else None
        return self.image or self.unit.image or tab

    @property
    def request(self) -> Request:
        """A job's request with this unit alone."""
        unit = self.unit if self.image is None else self.unit.model_copy(update={"image": self.image})
        known = {"control": (unit,), "width": self.width, "height": self.height, "seed": self.seed}
        return (self.tab or Txt2Img(control=())).model_copy(update=known)


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
