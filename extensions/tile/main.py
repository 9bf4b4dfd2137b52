"""Coarser copies of a picture, for networks that paint the details anew."""

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 64  # pixels of a side, as in the training of T2I-Adapter's colour model


def tile_resample(image: NDArray[np.uint8], *, rate: float) -> NDArray[np.uint8]:
    """The picture (h w 3) shrunken by `rate` (mean of the area) and brought back to its size (cubic)."""
    height, width = image.shape[:2]
    small = (max(1, round(width / rate)), max(1, round(height / rate)))
    if small == (width, height):
        return image
    shrunken = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunken, (width, height), interpolation=cv2.INTER_CUBIC)


def blur_gaussian(image: NDArray[np.uint8], *, sigma: float) -> NDArray[np.uint8]:
    """The picture (h w 3) under a Gaussian of `sigma` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def color_grid(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One colour per cell of about 64 x 64 pixels (h w 3)."""
    height, width = image.shape[:2]
    cells = (max(1, width // CELL), max(1, height // CELL))
    small = cv2.resize(image, cells, interpolation=cv2.INTER_CUBIC)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
