"""Canny edges (J. Canny, "A computational approach to edge detection", 1986): one pixel wide, white on black."""

import cv2
import numpy as np
from numpy.typing import NDArray


def canny(image: NDArray[np.uint8], *, low: int, high: int) -> NDArray[np.uint8]:
    """Edges of an RGB picture (h w 3). The strongest of the three channels counts, so a grey copy has other edges."""
    edges = cv2.Canny(image, low, high)
    return cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)
