"""What the networks of control units see: rules that a preview and a job share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.control.adapters import Map
from webui.control.geometry import Pixels
from webui.control.hints import Box, Hints, Part
from webui.control.maps import MapCache
from webui.schema.control import ControlUnit
from webui.schema.images import ImageRef
from webui.schema.requests import RESIZE_MODES, Img2Img, Inpaint, Request

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
STRIPES, MASK, OTHER = (ImageRef(sha256=digit * 64) for digit in "123")
ON_BLUE: Box = (64, 0, 96, 32)


def stripes() -> Image.Image:
    """96 x 32: red, green and blue, 32 columns each."""
    return Image.fromarray(np.repeat(np.array([[RED, GREEN, BLUE]], np.uint8), 32, axis=1).repeat(32, axis=0))


def mask_on(box: Box) -> Image.Image:
    mask = Image.new("L", (96, 32))
    mask.paste(255, box)
    return mask


PICTURES = {STRIPES: stripes(), MASK: mask_on((64, 0, 80, 32)), OTHER: mask_on((0, 0, 16, 32))}


class Shown:
    """A preprocessor whose map is its mask, or its picture; it remembers the sizes it was asked at."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def kind(self, id: str) -> str:
        return "depth"

    def alone(self, id: str) -> bool:
        return False

    def looks(self, id: str) -> bool:
        return True

    def at_resolution(self, id: str) -> bool:
        return True

    def version(self, id: str) -> str:
        return "1"

    def run(
        self, id: str, image: Pixels, params: Mapping[str, Any], mask: Pixels | None, rng: np.random.Generator
    ) -> Map:
        self.sizes.append((image.shape[1], image.shape[0]))
        return Map(image if mask is None else np.repeat(mask[..., None], 3, axis=2))


def hints(request: Request, made: Shown | None = None, cache: MapCache | None = None) -> Hints:
    return Hints(request, made or Shown(), cache or MapCache(), PICTURES.__getitem__)


def repaint(**changes: Any) -> Inpaint:
    return Inpaint(**{"init_image": STRIPES, "mask": MASK, "control": (), **changes})


def colours(image: Pixels) -> set[tuple[int, ...]]:
    return {tuple(map(int, pixel)) for pixel in image.reshape(-1, 3)}


@pytest.mark.parametrize(("mode", "first_row"), [("Just resize", [RED, GREEN, BLUE]), ("Crop and resize", [GREEN] * 3)])
def test_the_tabs_own_picture_follows_the_tabs_resize_mode(mode: str, first_row: list[tuple[int, int, int]]) -> None:
    unit = ControlUnit(resize_mode="Resize and Fill")
    part = Part(48, 48)
    request = Img2Img(init_image=STRIPES, resize_mode=mode, control=())
    seen = hints(request).seen(unit, part, part).image
    assert [tuple(seen[0, column]) for column in (1, 24, 46)] == first_row
    own = hints(request).seen(unit.model_copy(update={"image": STRIPES}), part, part).image
    assert [tuple(own[24, column]) for column in (1, 24, 46)] == [RED, GREEN, BLUE]
    assert tuple(own[20, 1]) != tuple(own[0, 1])  # it fits into the middle third


@pytest.mark.parametrize(("mode", "side"), list(zip(RESIZE_MODES, (64, 64, 21), strict=True)))
def test_a_pixel_perfect_map_is_as_fine_as_the_tabs_resize_mode_needs(mode: str, side: int) -> None:
    made = Shown()
    request = Img2Img(init_image=STRIPES, resize_mode=mode, control=())
    unit = ControlUnit(preprocessor="shown", pixel_perfect=True)
    assert min(hints(request, made).map(unit, Part(64, 64)).image.shape[:2]) == side


def test_the_part_that_is_drawn_alone_is_seen_stretched_as_the_picture_is() -> None:
    part = Part(64, 96, (16, 0, 80, 32))
    for unit in (ControlUnit(), ControlUnit(image=STRIPES, resize_mode="Crop and Resize")):
        seen = hints(repaint(resize_mode="Crop and resize")).seen(unit, part, part)
        assert seen.image.shape == (96, 64, 3)
        assert [tuple(seen.image[50, column]) for column in (1, 32, 62)] == [RED, GREEN, BLUE]
        assert seen.mask is not None
        assert (seen.mask[50, 44], seen.mask[50, 52]) == (0, 255)


def test_what_is_masked_is_black_where_a_network_sees_minus_one() -> None:
    part = Part(96, 32)
    seen = hints(repaint()).seen(ControlUnit(), part, part)
    assert colours(seen.blackened[:, :32]) == {RED}
    assert colours(seen.blackened[:, 64:80]) == {(0, 0, 0)}
    assert colours(seen.blackened[:, 80:]) == {BLUE}
    assert colours(seen.image) == {RED, GREEN, BLUE}


def test_a_map_is_made_anew_for_another_mask() -> None:
    cache, unit = MapCache(), ControlUnit(preprocessor="shown", resolution=64)
    shares = []
    for changes in ({}, {"mask_invert": True}, {"mask": OTHER}, {}):
        found = hints(repaint(**changes), cache=cache).map(unit, Part(96, 32)).image
        shares.append((round(found[:, :20].mean() / 255), round(found[:, 140:150].mean() / 255)))
    assert shares == [(0, 1), (1, 0), (1, 0), (0, 1)]


@pytest.mark.parametrize(("crop", "acts"), [(None, (0, 1)), (ON_BLUE, (1, 1)), ((0, 0, 32, 32), (0, 0))])
def test_a_region_lies_on_the_part_that_is_drawn(crop: Box | None, acts: tuple[int, int]) -> None:
    pictures = PICTURES | {OTHER: mask_on(ON_BLUE)}
    unit = ControlUnit(region_mask=OTHER)
    region = Hints(repaint(), Shown(), MapCache(), pictures.__getitem__).region(unit, Part(96, 32, crop))
    assert region is not None or acts == (1, 1)
    if region is not None:
        assert (region[16, 1] // 255, region[16, 94] // 255) == acts
