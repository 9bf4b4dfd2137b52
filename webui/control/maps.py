"""From a unit's picture to its map: the preprocessor's resolution, its call, and the maps that are kept."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image

from webui.control.adapters import Map
from webui.control.copies import copied
from webui.control.geometry import PAD, Pixels, at_resolution, padded_to, pixel_perfect, resize, shorter_side
from webui.images.read import opaque
from webui.schema.control import NO_PREPROCESSOR, ControlUnit

KEPT_MAPS = 24
POSE = "pose"
"""Maps of this kind come with joints, which are told in pixels of the map: nothing may be added to the picture."""


class Preprocessors(Protocol):
    """What control needs of the extensions' preprocessors, by id."""

    def kind(self, id: str) -> str:
        """The kind of its maps: "edges", "depth", ..."""

    def alone(self, id: str) -> bool:
        """Whether units act by it without a control model."""

    def looks(self, id: str) -> bool:
        """Whether its map follows from a picture; else from its parameters alone."""

    def at_resolution(self, id: str) -> bool:
        """Whether it is asked at the unit's resolution; else at the picture's own size."""

    def version(self, id: str) -> str:
        """A text that changes when the preprocessor may give another map: its extension's version."""

    def run(
        self, id: str, image: Pixels, params: Mapping[str, Any], mask: Pixels | None, rng: np.random.Generator
    ) -> Map:
        """The map of a picture, as large as the picture. Raises AtelierError."""


@dataclass(frozen=True)
class Source:
    """What a map is made of. key: tells pictures apart; image: (h w 3); mask: (h w), white where to repaint."""

    key: str
    image: Pixels
    mask: Pixels | None = None


@dataclass(frozen=True)
class Made:
    """A map and the seed whose random numbers it took; None where it took none."""

    map: Map
    seed: int | None


class MapCache:
    """Maps by all that they follow from. Kept from job to job: `limit` of them, and those of the last job's units.

    What is kept is nobody else's: a copy goes in, and a copy comes out.
    """

    def __init__(self, limit: int = KEPT_MAPS) -> None:
        self._made: OrderedDict[str, Made] = OrderedDict()
        self._limit = limit
        self._units = 0

    def make_room(self, units: int) -> None:
        """A job of so many units begins: each map is made once, however many there are."""
        self._units = units

    def get(self, key: str, seed: int) -> Map | None:
        """The map of this key, if it is there and was not drawn from another seed."""
        made = self._made.get(key)
        if made is None or made.seed not in (None, seed):
            return None
        self._made.move_to_end(key)
        return copied(made.map)

    def put(self, key: str, made: Made) -> None:
        self._made[key] = copied(made)
        self._made.move_to_end(key)
        while len(self._made) > self._limit + self._units:
            self._made.popitem(last=False)


def make_map(
    unit: ControlUnit,
    source: Source,
    size: tuple[int, int],
    preprocessors: Preprocessors,
    cache: MapCache,
    seed: int,
    mode: str,
) -> Map:
    """The map of a unit. size, mode: the (width, height) that will be drawn and how the map will be brought to it, for
    a pixel-perfect resolution.

    Raises:
        AtelierError: what the preprocessor says.
    """
    if unit.preprocessor == NO_PREPROCESSOR:
        return Map(source.image.copy())
    resolution = resolution_of(unit, source.image, size, mode) if preprocessors.at_resolution(unit.preprocessor) else 0
    key = _key(unit, source, resolution, preprocessors.version(unit.preprocessor))
    found = cache.get(key, seed)
    if found is None:
        rng = np.random.default_rng(seed)
        untouched = rng.bit_generator.state
        found = _detected(unit, source, resolution, preprocessors, rng)
        cache.put(key, Made(found, None if rng.bit_generator.state == untouched else seed))
    return found


def resolution_of(unit: ControlUnit, image: Pixels, size: tuple[int, int], mode: str) -> int:
    """The shorter side at which the map is made."""
    return pixel_perfect(image, *size, mode) if unit.pixel_perfect else unit.resolution


def blank(width: int, height: int) -> Source:
    """In the place of a picture, for preprocessors that look at none: black, of the size that will be drawn."""
    return Source(f"{width} x {height}", np.zeros((height, width, 3), np.uint8))


def pixels_of(image: Image) -> Pixels:
    """A picture as (h w 3), what is transparent on white."""
    return np.asarray(opaque(image).convert("RGB"), np.uint8)


def _detected(
    unit: ControlUnit, source: Source, resolution: int, preprocessors: Preprocessors, rng: np.random.Generator
) -> Map:
    if not resolution:
        return preprocessors.run(unit.preprocessor, source.image, unit.params, source.mask, rng)
    data: list[Any] = []
    multiple = 1 if preprocessors.kind(unit.preprocessor) == POSE else PAD

    def detect(image: Pixels) -> Pixels:
        mask = None if source.mask is None else _mask_at(source.mask, source.image, resolution, multiple)
        made = preprocessors.run(unit.preprocessor, image, unit.params, mask, rng)
        data.append(made.data)
        return made.image

    pixels = at_resolution(source.image, resolution, detect, multiple)
    return Map(pixels, data[0])


def _mask_at(mask: Pixels, image: Pixels, resolution: int, multiple: int) -> Pixels:
    h, w = shorter_side(image, resolution).shape[:2]
    return padded_to(resize(mask, w, h, "mask"), multiple)


def _key(unit: ControlUnit, source: Source, resolution: int, version: str) -> str:
    params = json.dumps(unit.params, sort_keys=True, default=str)
    return "|".join((source.key, unit.preprocessor, version, params, str(resolution)))
