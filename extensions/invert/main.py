"""The negative of a picture."""

import cv2
import numpy as np
from numpy.typing import NDArray


def invert(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 - x for every channel (h w 3)."""
    return cv2.bitwise_not(image)
