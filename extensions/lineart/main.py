"""Line art: what is darker than its surroundings, white on black."""

import cv2
import numpy as np
from numpy.typing import NDArray

FAINTEST = 16.0  # a picture without any line is not stretched until its noise looks like lines
TYPICAL = 127.0  # brightness of a line of median strength in the map


def lineart_standard(image: NDArray[np.uint8], *, sigma: float, least: int) -> NDArray[np.uint8]:
    """Blurred picture minus picture, least of the three channels; scaled so that its median line is 127 (h w 3)."""
    pixels = image.astype(np.float32)
    darker = (cv2.GaussianBlur(pixels, (0, 0), sigma) - pixels).min(axis=2).clip(0, 255)
    lines = darker[darker > least]
    strength = max(FAINTEST, float(np.median(lines)) if lines.size else 0.0)
    return cv2.cvtColor((darker / strength * TYPICAL).clip(0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
