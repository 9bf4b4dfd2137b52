"""What control units show their networks: maps, fitted to what a pass draws. The same for jobs and for previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from webui.control.adapters import Map
from webui.control.geometry import CROP, STRETCH, Pixels, fit
from webui.control.maps import MapCache, Preprocessors, Source, blank, make_map, pixels_of
from webui.images.mask import load_mask
from webui.schema.control import CONTROL_RESIZE_MODES, NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import BadRequest
from webui.schema.images import ImageRef
from webui.schema.requests import RESIZE_MODES, Img2Img, Inpaint, Request

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Part:
    """What a pass draws. width, height: in pixels; crop: the part of the first picture (left, top, right, bottom, in
    its pixels) that an inpainting draws alone."""

    width: int
    height: int
    crop: Box | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


@dataclass(frozen=True)
class Seen:
    """A unit's map as its network sees it. image: (h w 3) at the size of the pass; mask: (h w), 255 where to repaint
    and 0 elsewhere, or None; made: the map before it was fitted."""

    image: Pixels
    mask: Pixels | None
    made: Map

    @property
    def blackened(self) -> Pixels:
        """The image with what is masked in black: of a network for which that is -1, which is no colour."""
        return self.image if self.mask is None else np.where(self.mask[..., None] > 0, np.uint8(0), self.image)


class Hints:
    """The maps of one request's units. picture: opens a picture of the request."""

    def __init__(
        self,
        request: Request,
        preprocessors: Preprocessors,
        maps: MapCache,
        picture: Callable[[ImageRef], Image.Image],
    ) -> None:
        self._request = request
        self._preprocessors = preprocessors
        self._maps = maps
        self._picture = picture

    def map(self, unit: ControlUnit, first: Part) -> Map:
        """The map of a unit at its own size; made once. What follows from no picture is cropped after. first: what the
        first pass draws."""
        seed = max(self._request.seed, 0)
        looks = self._looks(unit)
        source = self._source(unit, first if looks else Part(*first.size))
        mode = self._fit_mode(unit, first)
        made = make_map(unit, source, first.size, self._preprocessors, self._maps, seed, mode)
        if looks or first.crop is None or not isinstance(self._request, Img2Img):
            return made
        whole = self._picture(self._request.init_image).size
        return Map(_cropped(made.image, whole, first.crop, self._mode(unit)), made.data)

    def seen(self, unit: ControlUnit, part: Part, first: Part) -> Seen:
        """The map and the mask of a unit, fitted to what a pass draws."""
        made, mode = self.map(unit, first), self._fit_mode(unit, first)
        kind = "" if unit.preprocessor == NO_PREPROCESSOR else self._preprocessors.kind(unit.preprocessor)
        mask = self._source(unit, first).mask
        if mask is not None:
            mask = np.where(fit(mask, *part.size, mode, "mask") > 127, np.uint8(255), np.uint8(0))
        return Seen(fit(made.image, *part.size, mode, kind), mask, made)

    def region(self, unit: ControlUnit, part: Part) -> Pixels | None:
        """Where the unit acts, (h w), white where fully; None for everywhere, as where the mask is all white."""
        if unit.region_mask is None:
            return None
        mask, mode = np.asarray(load_mask(self._picture(unit.region_mask)), np.uint8), CROP
        if part.crop is not None and isinstance(self._request, Img2Img):
            mask, mode = _cropped(mask, self._picture(self._request.init_image).size, part.crop, CROP), STRETCH
        return None if mask.min() == 255 else fit(mask, *part.size, mode, "mask")

    def _looks(self, unit: ControlUnit) -> bool:
        return unit.preprocessor == NO_PREPROCESSOR or self._preprocessors.looks(unit.preprocessor)

    def _source(self, unit: ControlUnit, first: Part) -> Source:
        """What the unit's map is made of: its own picture, or the tab's; and its mask, or the tab's."""
        ref = unit.image or (self._request.init_image if isinstance(self._request, Img2Img) else None)
        if ref is None and not self._looks(unit):
            return blank(*first.size)
        if ref is None:
            raise BadRequest("A control unit has no picture.", "Give it one, or switch it off.")
        image = pixels_of(self._picture(ref))
        mask, mask_key = self._mask(unit, image)
        key = ref.sha256
        if first.crop is not None and isinstance(self._request, Img2Img):
            whole, mode = self._picture(self._request.init_image).size, self._mode(unit)
            image = _cropped(image, whole, first.crop, mode)
            mask = None if mask is None else _cropped(mask, whole, first.crop, mode)
            key += f"{mode}{whole}{first.crop}"
        return Source(f"{key}/{mask_key}", image, mask)

    def _mask(self, unit: ControlUnit, image: Pixels) -> tuple[Pixels | None, str]:
        """The mask of a unit at its picture's size (h w), or None; and what tells it apart."""
        if unit.mask is not None:
            mask, key = load_mask(self._picture(unit.mask)), unit.mask.sha256
        elif isinstance(self._request, Inpaint):
            mask, key = load_mask(self._picture(self._request.mask)), self._request.mask.sha256
            if self._request.mask_invert:
                mask, key = mask.point(lambda value: 255 - value), f"{key} inverted"
        else:
            return None, ""
        return np.asarray(mask.resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST), np.uint8), key

    def _mode(self, unit: ControlUnit) -> str:
        """How the unit's picture is laid on the first one: the tab's own picture follows the tab's resize mode."""
        if unit.image is None and isinstance(self._request, Img2Img):
            return CONTROL_RESIZE_MODES[RESIZE_MODES.index(self._request.resize_mode)]
        return unit.resize_mode

    def _fit_mode(self, unit: ControlUnit, first: Part) -> str:
        """How the unit's map is brought to size. The part that is drawn alone is stretched, as the picture is there."""
        return self._mode(unit) if first.crop is None else STRETCH


def _cropped(image: Pixels, whole: tuple[int, int], crop: Box, mode: str) -> Pixels:
    """The part of a picture that lies on `crop` of the first picture, whose size is `whole` (width, height)."""
    left, top, right, bottom = crop
    return np.ascontiguousarray(fit(image, *whole, mode)[top:bottom, left:right])
