"""Normals: which way a surface faces, worked out from the nearness that a depth preprocessor gives."""

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.ext import PreprocessContext

SOBEL_SUM = 8  # what Sobel's 3 x 3 kernel makes of a slope of 1 per pixel
FLAT = 1e-5  # a span below this share of the values is rounding, not depth
MIDAS_FRONT = 2 * np.pi  # ControlNet 1.0 was trained on normals whose z is this beside MiDaS's own Sobel values


def normal_depth(
    image: NDArray[np.uint8], *, estimator: str, relief: float, background: float, ctx: PreprocessContext
) -> NDArray[np.uint8]:
    """Red is left, green is up, blue faces the viewer (h w 3): the colours of ControlNet 1.1's `normalbae`."""
    share = _share(ctx.preprocess(estimator, image).data)
    height = share * relief * min(image.shape[:2])
    right, down = (step / SOBEL_SUM for step in _steps(height))
    return _colours(right, down, 1.0, share < background)


def normal_midas(image: NDArray[np.uint8], *, background: float, ctx: PreprocessContext) -> NDArray[np.uint8]:
    """The same normals in the order blue, green, red, as ControlNet 1.0's `normal` wants them (h w 3)."""
    near = ctx.preprocess("depth_midas", image).data
    right, down = _steps(near)
    return _colours(right, down, MIDAS_FRONT, _share(near) < background)[:, :, ::-1].copy()


def _share(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nearness (h w) from 0 (farthest) to 1 (nearest)."""
    span = float(near.max() - near.min())
    return (near - near.min()) / span if span > FLAT * float(np.abs(near).max()) else np.zeros_like(near)


def _steps(height: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sobel to the right and down (h w): above 0 where the surface comes nearer, thus faces left and up."""
    smooth = height.astype(np.float32)
    return cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)


def _colours(
    left: NDArray[np.float32], up: NDArray[np.float32], front: float, behind: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Directions of unit length as colours (h w 3): -1..1 becomes 0..255. `behind` faces the viewer."""
    left, up = np.where(behind, 0, left), np.where(behind, 0, up)
    normals = np.stack([left, up, np.full_like(left, front)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return (normals * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
