"""Scribbles: rough white lines on black, as a network for quick drawings wants them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .thin import crests

STRONG = 16.0  # a flat picture is not stretched until its noise looks like outlines
CREST_SIGMA = 3.0  # pixels
PEN_SIGMA = 3.0  # pixels: turns a line of one pixel into a stroke of about nine
PEN_LEAST = 4  # of 255


def scribble_xdog(image: NDArray[np.uint8], *, threshold: int) -> NDArray[np.uint8]:
    """White where the picture is darker than its surroundings, in every channel, by more than half the threshold.

    Extended difference of Gaussians (Winnemoeller et al. 2012), sigma 0.5 and 5 pixels. (h w 3)
    """
    pixels = image.astype(np.float32)
    fine, coarse = cv2.GaussianBlur(pixels, (0, 0), 0.5), cv2.GaussianBlur(pixels, (0, 0), 5.0)
    light = (255 - (coarse - fine).min(axis=2)).clip(0, 255).astype(np.uint8)
    return _white(2 * (255 - light.astype(int)) > threshold)


def scribble_edges(image: NDArray[np.uint8], *, sigma: float, threshold: int) -> NDArray[np.uint8]:
    """The crests of the gradient, drawn with a thick pen (h w 3)."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = cv2.GaussianBlur(np.hypot(across, down).max(axis=2), (0, 0), CREST_SIGMA)
    lines = crests(strength / max(STRONG, float(np.percentile(strength, 99))) * 255, threshold)
    return _white(cv2.GaussianBlur(_white(lines)[:, :, 0], (0, 0), PEN_SIGMA) > PEN_LEAST)


def scribble_drawing(image: NDArray[np.uint8], *, difference: int) -> NDArray[np.uint8]:
    """Strokes of any colour on paper of any colour become white on black (h w 3). Paper: the median of the rim."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    paper = np.median(rim, axis=0)
    return _white(np.abs(image - paper).max(axis=2) >= difference)


def _white(where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.repeat(np.where(where, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
