"""Bring a picture to a size."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resize_to(image: Image.Image, width: int, height: int, mode: str = "Just resize") -> Image.Image:
    """The picture at width x height pixels, by one of `schema.requests.RESIZE_MODES`.

    "Just resize" stretches; "Crop and resize" covers the size and cuts the rest off evenly; "Resize and fill" fits
    into it and continues the outermost rows or columns. A picture of that size already comes back as it is.
    """
    if image.size == (width, height):
        return image
    return _MODES[mode](image, width, height)


def pad_to_multiple(image: Image.Image, multiple: int) -> Image.Image:
    """Each side rounded up to a multiple; what is added on the right and below mirrors the picture."""
    width, height = image.size
    right, below = -width % multiple, -height % multiple
    if not right and not below:
        return image
    pixels = np.asarray(image)  # (h w) or (h w c)
    sides = [(0, below), (0, right), (0, 0)][: pixels.ndim]
    return Image.fromarray(np.pad(pixels, sides, mode="reflect"))


def crop_back(image: Image.Image, width: int, height: int) -> Image.Image:
    """Undo `pad_to_multiple`: the upper left width x height pixels."""
    return image if image.size == (width, height) else image.crop((0, 0, width, height))


def _stretch(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _cover(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = max(width / image.width, height / image.height)
    covering = _stretch(image, _at_least(width, image.width * scale), _at_least(height, image.height * scale))
    left, top = (covering.width - width) // 2, (covering.height - height) // 2
    return covering.crop((left, top, left + width, top + height))


def _fill(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    fitting = _stretch(image, _within(width, image.width * scale), _within(height, image.height * scale))
    pixels = np.asarray(fitting)  # (h w) or (h w c)
    left, top = (width - fitting.width) // 2, (height - fitting.height) // 2
    sides = [(top, height - fitting.height - top), (left, width - fitting.width - left), (0, 0)][: pixels.ndim]
    return Image.fromarray(np.pad(pixels, sides, mode="edge"))


def _at_least(size: int, wanted: float) -> int:
    return max(size, round(wanted))


def _within(size: int, wanted: float) -> int:
    return max(1, min(size, round(wanted)))


_MODES = {"Just resize": _stretch, "Crop and resize": _cover, "Resize and fill": _fill}
