"""Thin lines out of a grey hill country."""

import cv2
import numpy as np
from numpy.typing import NDArray

# The four directions in which a crest may run: a pixel and its two neighbours along the line across it.
ACROSS = tuple(
    np.array(rows, np.uint8)
    for rows in (
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    )
)


def crests(height: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
    """Where (h w) a pixel is above `least` and as high as both neighbours in at least one of four directions."""
    top = np.zeros(height.shape, bool)
    for kernel in ACROSS:
        top |= cv2.dilate(height, kernel) == height
    return top & (height > least)
