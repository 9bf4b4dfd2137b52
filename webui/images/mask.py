"""Masks of pictures: grey, of the picture's size, white (255) where it is to be repainted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageFilter

from webui.schema.errors import BadImage

FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Masked content "fill": radius in pixels of each blur and how often it is laid over the ones before."""


@dataclass(frozen=True)
class Region:
    """A part of a picture and its mask.

    box: (left, top, right, bottom) in pixels, right and bottom outside; mask: what is masked there, at its own size.
    """

    box: tuple[int, int, int, int]
    mask: Image.Image

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    @property
    def resampling(self) -> Image.Resampling:
        """How pixels of a region are resized on the way to the model and back."""
        return Image.Resampling.LANCZOS


def load_mask(image: Image.Image, size: tuple[int, int] | None = None) -> Image.Image:
    """The mask that a picture means, in mode L: its transparency where it has some, else its brightness.

    Raises:
        BadImage: the mask is not of `size` (width, height in pixels), the size of the picture it is for.
    """
    if size is not None and image.size != size:
        raise BadImage(
            f"The mask is {image.width}x{image.height} pixels, the picture {size[0]}x{size[1]}.",
            "Use a mask of the picture's own size, or draw it on the picture.",
        )
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        return image.getchannel("A")
    return image.convert("L")


def blur_mask(mask: Image.Image, radius: float) -> Image.Image:
    """A Gaussian blur with standard deviation `radius`, in pixels, cut off at 2.5 standard deviations."""
    if radius <= 0:
        return mask
    side = 2 * int(2.5 * radius + 0.5) + 1
    return Image.fromarray(cv2.GaussianBlur(np.asarray(mask.convert("L")), (side, side), radius))


def crop_region(mask: Image.Image, padding: int, aspect: float) -> Region:
    """The smallest region around all that is masked, with padding pixels on each side, widened towards an aspect.

    aspect: width / height of the size it will be drawn at. The region stays inside the picture, so a region at the
    rim, or of a picture that is too small, has another aspect.

    Raises:
        BadImage: nothing is masked.
    """
    box = mask.getbbox()
    if box is None:
        raise BadImage("The mask is empty: nothing would be repainted.", "Paint over what shall change.")
    left, right = max(box[0] - padding, 0), min(box[2] + padding, mask.width)
    top, bottom = max(box[1] - padding, 0), min(box[3] + padding, mask.height)
    if (right - left) < (bottom - top) * aspect:
        left, right = _widen(left, right, int((bottom - top) * aspect), mask.width)
    else:
        top, bottom = _widen(top, bottom, int((right - left) / aspect), mask.height)
    box = left, top, right, bottom
    return Region(box, mask.crop(box))


def composite(whole: Image.Image, drawn: Image.Image, mask: Image.Image) -> Image.Image:
    """`drawn` over `whole`, both RGB and of one size: where the mask is 0 `whole` bit for bit, where 255 `drawn`."""
    share = np.asarray(mask.convert("L"), dtype=np.uint16)[..., None]  # (h w 1)
    below, above = (np.asarray(image.convert("RGB"), dtype=np.uint16) for image in (whole, drawn))  # (h w 3)
    return Image.fromarray(((below * (255 - share) + above * share + 127) // 255).astype(np.uint8))


def paste_region(whole: Image.Image, drawn: Image.Image, region: Region) -> Image.Image:
    """`drawn`, at the size it was drawn at, back into its region of `whole`; RGB.

    Pixels outside the region, and those in it where its mask is 0, stay bit for bit.
    """
    part = composite(whole.crop(region.box), drawn.resize(region.size, region.resampling), region.mask)
    result = whole.convert("RGB")
    result = result.copy() if result is whole else result
    result.paste(part, region.box[:2])
    return result


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Masked content "fill": the colours around the mask, ever more blurred towards its middle. RGB."""
    kept = image.convert("RGBA")
    kept.putalpha(mask.convert("L").point(lambda value: 255 - value))
    premultiplied = kept.convert("RGBa")  # so that what is masked adds no colour of its own to a blur
    filled = Image.new("RGBA", image.size)
    for radius, repeats in FILL_BLURS:
        blurred = premultiplied.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")


def _widen(start: int, stop: int, wanted: int, limit: int) -> tuple[int, int]:
    """The range made `wanted` long about its middle, shifted and, where that is not enough, cut to lie in 0..limit."""
    missing = max(wanted - (stop - start), 0)
    start, stop = start - missing // 2, stop + missing - missing // 2
    shift = max(0, -start) - max(0, stop - limit)
    return max(start + shift, 0), min(stop + shift, limit)
