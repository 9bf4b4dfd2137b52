"""Straight lines of a picture: the line segment detector of von Gioi et al. 2012 (doi:10.5201/ipol.2012.gjmr-lsd)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.ext import Map


def straight_lines(image: NDArray[np.uint8], *, length: float, tolerance: float) -> Map:
    """White lines one pixel wide on black (h w 3); data: {"lines": [[x1, y1, x2, y2], ...]} in pixels."""
    least = length * min(image.shape[:2])
    found = [line for line in segments(image, tolerance) if np.hypot(line[2] - line[0], line[3] - line[1]) >= least]
    canvas = np.zeros(image.shape, np.uint8)
    for x1, y1, x2, y2 in np.rint(np.array(found).reshape(-1, 4)).astype(int).tolist():
        cv2.line(canvas, (x1, y1), (x2, y2), (255, 255, 255), 1)
    return Map(canvas, {"lines": [[round(float(value), 2) for value in line] for line in found]})


def segments(image: NDArray[np.uint8], tolerance: float) -> NDArray[np.float32]:
    """(n 4) ends x1, y1, x2, y2 of all segments, longest first so that the order does not hang on the version."""
    detector = cv2.createLineSegmentDetector(ang_th=tolerance)
    found = detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    if found is None:
        return np.zeros((0, 4), np.float32)
    lines = np.asarray(found, np.float32).reshape(-1, 4)  # (n 1 4) in OpenCV 4, (n 4) in OpenCV 5
    return lines[np.argsort(-np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]), kind="stable")]
