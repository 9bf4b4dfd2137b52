"""From depth to grey: near is white, far is black."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .estimate import Depth

NEAREST, FARTHEST = 2.0, 85.0  # per cent of a metric map: what lies outside is all white or all black
LEAST_METRES = 1e-3
FLAT = 1e-5  # a span below this share of the values is rounding, not depth


def shade(depth: Depth) -> NDArray[np.uint8]:
    """A grey RGB map (h w 3). Inverse depth is stretched to 0..255; metres between two percentiles, turned round."""
    if depth.metric:
        near, far = np.percentile(depth.values, [NEAREST, FARTHEST])
        share = 1 - _stretched(depth.values, near, far)
    else:
        share = _stretched(depth.values, depth.values.min(), depth.values.max())
    return cv2.cvtColor(np.rint(share * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def nearness(depth: Depth) -> NDArray[np.float32]:
    """Inverse depth (h w), unscaled: of metres 1/m."""
    return 1 / np.maximum(depth.values, LEAST_METRES) if depth.metric else depth.values


def _stretched(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """`low` becomes 0 and `high` 1. Where all is equal it becomes 0."""
    span = float(high) - float(low)
    flat = span <= FLAT * max(abs(float(high)), abs(float(low)))
    return np.zeros_like(values) if flat else ((values - low) / span).clip(0, 1)
