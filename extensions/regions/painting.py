"""A painted picture whose colours are regions; what is black, or transparent, is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "magenta": (255, 0, 255),
    "cyan": (0, 255, 255), "orange": (255, 165, 0), "white": (255, 255, 255),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Paint:
    """Where one colour is. labels: (h w), the number of each pixel's colour."""

    labels: NDArray[np.uint8]
    number: int

    def covers(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the places (w), (h) in 0..1 have the colour: (h w)."""
        height, width = self.labels.shape
        rows, columns = ((side * places).astype(int).clip(0, side - 1) for side, places in ((height, v), (width, u)))
        return self.labels[rows][:, columns] == self.number


def paints_of(image: Image.Image) -> dict[str, Paint]:
    """Each colour of a painting; a pixel counts as the colour that it is nearest to."""
    flat = Image.new("RGB", image.size)
    painted = image.convert("RGBA")
    flat.paste(painted, mask=painted.getchannel("A"))
    palette = np.array([(0, 0, 0), *COLOURS.values()], np.int32)
    pixels = np.asarray(flat, np.int32)
    shades, numbers = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = ((shades[:, None] - palette) ** 2).sum(2).argmin(1).astype(np.uint8)
    labels = nearest[numbers].reshape(pixels.shape[:2])
    return {name: Paint(labels, number) for number, name in enumerate(COLOURS, 1)}
