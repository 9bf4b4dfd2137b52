"""Soft edges: the strength of the gradient as grey, white on black."""

import cv2
import numpy as np
from numpy.typing import NDArray

WEAKEST = 32.0  # a flat picture is not stretched until its noise looks like edges
BRIGHTEST = 99.0  # per cent: the strongest hundredth of the pixels is white


def softedge_sobel(image: NDArray[np.uint8], *, sigma: float, safe: bool) -> NDArray[np.uint8]:
    """Strength of the gradient (h w 3), 0..255. safe: in steps of a half, `floor(3 x) / 2`."""
    strength = gradient(image, sigma)
    edges = (strength / max(WEAKEST, float(np.percentile(strength, BRIGHTEST)))).clip(0, 1)
    if safe:
        edges = (np.floor(edges * 3) / 2).clip(0, 1)
    return cv2.cvtColor(np.rint(edges * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def gradient(image: NDArray[np.uint8], sigma: float) -> NDArray[np.float32]:
    """(h w): length of the Sobel gradient of the blurred picture, greatest of the three channels."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.hypot(across, down).max(axis=2)
