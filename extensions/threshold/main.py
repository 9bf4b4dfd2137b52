"""Black and white at a chosen brightness."""

import numpy as np
from numpy.typing import NDArray


def threshold(image: NDArray[np.uint8], *, threshold: int) -> NDArray[np.uint8]:
    """White where the darkest of the three channels is above the threshold, black elsewhere (h w 3)."""
    white = image.min(axis=2, keepdims=True) > threshold
    return np.repeat(np.where(white, 255, 0).astype(np.uint8), 3, axis=2)
