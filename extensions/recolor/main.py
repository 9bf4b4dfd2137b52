"""The light of a picture without its colours: a network then paints it in new ones."""

import cv2
import numpy as np
from numpy.typing import NDArray


def recolor_luminance(image: NDArray[np.uint8], *, gamma: float) -> NDArray[np.uint8]:
    """L of CIE LAB (h w 3), raised to the power gamma. RGB data go in as RGB, so red and blue are not swapped."""
    return _grey(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[:, :, 0], gamma)


def recolor_intensity(image: NDArray[np.uint8], *, gamma: float) -> NDArray[np.uint8]:
    """V of HSV, the brightest of the three channels (h w 3), raised to the power gamma."""
    return _grey(image.max(axis=2), gamma)


def _grey(light: NDArray[np.uint8], gamma: float) -> NDArray[np.uint8]:
    curve = np.rint((np.arange(256) / 255) ** gamma * 255).astype(np.uint8)
    return cv2.cvtColor(curve[light], cv2.COLOR_GRAY2RGB)
