"""Maps brought to size. A map is uint8 (h w 3), RGB; a mask uint8 (h w), white where it is masked.

The rules are those that users of sd-webui-controlnet know, so that the same map steers the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.schema.control import CONTROL_RESIZE_MODES

Pixels = NDArray[np.uint8]
Resampling = Literal["edges", "flat", "smooth"]
STRETCH, CROP, FILL = CONTROL_RESIZE_MODES
PAD = 64
"""Preprocessors see pictures whose sides are multiples of this."""
FEW_COLOURS: Final = range(3, 200)
DARK, BRIGHT = 16, 240
THINNING_ROUNDS = 32
_BY_KIND: Final[dict[str, Resampling]] = {"seg": "flat", "pose": "flat", "edges": "edges"}
_SQUARE: Final = np.ones((3, 3), np.uint8)


def fit(image: Pixels, width: int, height: int, mode: str, kind: str = "") -> Pixels:
    """A map (h w 3) or mask (h w) at width x height, by one of `CONTROL_RESIZE_MODES`.

    "Just Resize" stretches. "Crop and Resize" covers the size and cuts the rest off evenly. "Resize and Fill" fits
    into it, on the median colour of the map's four borders; a mask is filled with white. kind: of the preprocessor that
    made the map; the way of resampling follows from it, or from the colours where it is not known.
    """
    h, w = image.shape[:2]
    if (w, h) == (width, height):
        return image
    if mode == STRETCH:
        return resize(image, width, height, kind)
    scales = height / h, width / w
    scale = max(scales) if mode == CROP else min(scales)
    scaled = resize(image, max(1, round(w * scale)), max(1, round(h * scale)), kind)
    return _cut(scaled, width, height) if mode == CROP else _laid_out(image, scaled, width, height)


def resize(image: Pixels, width: int, height: int, kind: str = "") -> Pixels:
    """The map stretched to width x height. Palettes and poses stay flat, lines one pixel wide stay so."""
    h, w = image.shape[:2]
    if (w, h) == (width, height):
        return image
    how = _BY_KIND.get(kind) or ("smooth" if kind else _guess(image))
    if how == "flat":
        return _scaled(image, width, height, cv2.INTER_NEAREST)
    smaller = width * height < w * h
    scaled = _scaled(image, width, height, cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return _black_and_white(image, scaled) if how == "edges" and is_binary(image) else scaled


def is_binary(image: Pixels) -> bool:
    """Whether a map is of two colours, one of them dark and one bright."""
    colours = _colours(image, limit=2)
    return colours == 2 and int(image.min()) < DARK and int(image.max()) > BRIGHT


def pixel_perfect(image: Pixels, width: int, height: int, mode: str) -> int:
    """The shorter side, in pixels, at which a map of the picture is as fine as what will be drawn at width x height."""
    h, w = image.shape[:2]
    scales = height / h, width / w
    return max(1, round((min(scales) if mode == FILL else max(scales)) * min(h, w)))


def at_resolution(image: Pixels, resolution: int, detect: Callable[[Pixels], Pixels], multiple: int = PAD) -> Pixels:
    """What `detect` makes of the picture with its shorter side `resolution` pixels long.

    `detect` sees sides that are multiples of `multiple`, what is missing being the rim repeated; that is cut off again.
    """
    small = shorter_side(image, resolution)
    h, w = small.shape[:2]
    padded = padded_to(small, multiple)
    found = detect(padded)
    return np.ascontiguousarray(found[:h, :w])


def shorter_side(image: Pixels, resolution: int) -> Pixels:
    """The picture with its shorter side `resolution` pixels long."""
    h, w = image.shape[:2]
    scale = resolution / min(h, w)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return _scaled(image, max(1, round(w * scale)), max(1, round(h * scale)), how)


def padded_to(image: Pixels, multiple: int) -> Pixels:
    """Sides rounded up to a multiple, the rim repeated on the right and below."""
    h, w = image.shape[:2]
    sides = [(0, -h % multiple), (0, -w % multiple), (0, 0)][: image.ndim]
    return np.pad(image, sides, mode="edge")


def mirrored_to(image: Pixels, width: int, height: int) -> Pixels:
    """Sides lengthened to width x height on the right and below by the picture's reflection, as pictures are."""
    h, w = image.shape[:2]
    sides = [(0, height - h), (0, width - w), (0, 0)][: image.ndim]
    return np.pad(image, sides, mode="reflect" if min(h, w) > 1 else "edge")


def thin(lines: Pixels) -> Pixels:
    """White lines (h w) thinned to one pixel (Golay's L, eight rotations a round: Serra 1982, chapter XI)."""
    kernels = [np.rot90(base, turn) for turn in range(4) for base in _GOLAY]
    for _ in range(THINNING_ROUNDS):
        before = lines
        for kernel in kernels:
            ends = np.asarray(cv2.morphologyEx(lines, cv2.MORPH_HITMISS, kernel), np.uint8)
            lines = np.where(ends > 0, np.uint8(0), lines)
        if np.array_equal(before, lines):
            break
    return lines


_GOLAY: Final = (
    np.array([[-1, -1, -1], [0, 1, 0], [1, 1, 1]], np.int8),
    np.array([[0, -1, -1], [1, 1, -1], [0, 1, 0]], np.int8),
)


def _guess(image: Pixels) -> Resampling:
    """How a map of unknown making is resampled."""
    if is_binary(image):
        return "edges"
    return "flat" if _colours(image, limit=FEW_COLOURS.stop) in FEW_COLOURS else "smooth"


def _colours(image: Pixels, limit: int) -> int:
    """How many colours there are, or more than `limit`: the rest is not counted exactly."""
    flat = image.reshape(-1, 1 if image.ndim == 2 else image.shape[2]).astype(np.uint32)
    codes = flat @ np.array([1, 1 << 8, 1 << 16, 1 << 24][: flat.shape[1]], np.uint32)
    return len(np.unique(codes))


def _scaled(image: Pixels, width: int, height: int, how: int) -> Pixels:
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _black_and_white(image: Pixels, scaled: Pixels) -> Pixels:
    """A binary map, resized, made binary again; lines of one pixel are thinned to one pixel."""
    grey = scaled if scaled.ndim == 2 else scaled.mean(axis=2).clip(0, 255).astype(np.uint8)
    fine = _is_fine(image)
    grey = _ridges(grey) if fine else grey
    _, lines = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    lines = thin(np.asarray(lines, np.uint8)) if fine else np.asarray(lines, np.uint8)
    return lines if scaled.ndim == 2 else np.repeat(lines[..., None], scaled.shape[2], axis=2)


def _is_fine(image: Pixels) -> bool:
    """Whether most of what is white disappears by an opening: lines about one pixel wide."""
    opened = cv2.dilate(cv2.erode(image, _SQUARE), _SQUARE)
    return int((opened < image).sum()) * 2 > int((image > 127).sum())


def _ridges(grey: Pixels) -> Pixels:
    """Pixels that are the largest of three in at least one of four directions; the others black."""
    lines = (
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    )
    kept = np.zeros_like(grey)
    for line in lines:
        largest = cv2.dilate(grey, np.array(line, np.uint8)) == grey
        kept[largest] = grey[largest]
    return kept


def _cut(image: Pixels, width: int, height: int) -> Pixels:
    h, w = image.shape[:2]
    top, left = max(0, (h - height) // 2), max(0, (w - width) // 2)
    cut = image[top : top + height, left : left + width]
    missing = [(0, height - cut.shape[0]), (0, width - cut.shape[1]), (0, 0)][: cut.ndim]
    return np.ascontiguousarray(np.pad(cut, missing, mode="edge"))


def _laid_out(image: Pixels, scaled: Pixels, width: int, height: int) -> Pixels:
    """`scaled` in the middle of a canvas of the border colour of `image`."""
    canvas = np.empty((height, width, *image.shape[2:]), np.uint8)
    canvas[...] = 255 if image.ndim == 2 else border_colour(image)
    part = scaled[:height, :width]
    top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def border_colour(image: Pixels) -> Pixels:
    """The median colour (3,) of the outermost rows and columns (h w 3)."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return np.median(rim, axis=0).clip(0, 255).astype(np.uint8)
