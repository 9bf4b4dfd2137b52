"""Content shuffle: a smooth random flow stirs the picture, so that only its colours and small forms are left."""

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.ext import PreprocessContext

SCALE = 256  # pixels between two independent points of the flow


def shuffle(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> NDArray[np.uint8]:
    """Every pixel (h w 3) is fetched from a random place; the same seed stirs in the same way."""
    height, width = image.shape[:2]
    columns = smooth_noise(ctx.rng, height, width) * (width - 1)
    rows = smooth_noise(ctx.rng, height, width) * (height - 1)
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR)


def smooth_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A field (h w) whose least value is 0 and greatest 1, from uniform numbers every SCALE pixels, cubic between them.

    A margin of one cell on each side is cut off: there the cubic has no neighbours to lean on.
    """
    coarse = rng.uniform(0, 1, (height // SCALE + 2, width // SCALE + 2)).astype(np.float32)
    fine = cv2.resize(coarse, (width + 2 * SCALE, height + 2 * SCALE), interpolation=cv2.INTER_CUBIC)
    field = fine[SCALE : SCALE + height, SCALE : SCALE + width]
    span = max(float(field.max() - field.min()), 1e-6)  # a picture of one pixel has no span
    return (field - field.min()) / np.float32(span)
