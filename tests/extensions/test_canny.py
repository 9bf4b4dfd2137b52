"""Canny against a second writing of the algorithm, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.extensions.support import cloud, noise, pixels


def steepest(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h w) steps to the right and down by Sobel's kernels, of the channel where |right| + |down| is greatest."""
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    right, down = (
        np.stack([ndimage.correlate(c.astype(int), kernel, mode="nearest") for c in image.transpose(2, 0, 1)])
        for kernel in (across, across.T)
    )
    chosen = (np.abs(right) + np.abs(down)).argmax(axis=0)[None]
    return np.take_along_axis(right, chosen, 0)[0], np.take_along_axis(down, chosen, 0)[0]


def neighbours(right: int, down: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two pixels (row, column steps) before and after one along its gradient, to the nearest of four directions."""
    angle = np.degrees(np.arctan2(abs(down), abs(right)))
    if angle < 22.5:
        return (0, -1), (0, 1)
    if angle > 67.5:
        return (-1, 0), (1, 0)
    side = -1 if (right < 0) != (down < 0) else 1
    return (-1, -side), (1, side)


def is_crest(length: np.ndarray, row: int, column: int, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a pixel is above both; on the axes a plateau counts at its first pixel. length has a rim of zeros."""
    here = length[row + 1, column + 1]
    first = length[row + 1 + before[0], column + 1 + before[1]]
    second = length[row + 1 + after[0], column + 1 + after[1]]
    diagonal = 0 not in before
    return bool(here > first and (here > second if diagonal else here >= second))


def second_canny(image: np.ndarray, low: int, high: int) -> np.ndarray:
    """White where a crest above `low` hangs together with one above `high`."""
    right, down = steepest(image)
    length = np.pad(np.abs(right) + np.abs(down), 1)
    weak = np.zeros(right.shape, bool)
    for row, column in np.argwhere(length[1:-1, 1:-1] > low):
        weak[row, column] = is_crest(length, row, column, *neighbours(right[row, column], down[row, column]))
    groups, _count = ndimage.label(weak, np.ones((3, 3)))
    strong = np.unique(groups[weak & (length[1:-1, 1:-1] > high)])
    return np.where(np.isin(groups, strong[strong > 0]), 255, 0)


@pytest.mark.parametrize(("low", "high"), [(100, 200), (30, 60), (1, 255), (200, 100)])
@pytest.mark.parametrize("make", [cloud, noise])
def test_canny_is_pixel_for_pixel_its_second_writing(make, low: int, high: int):
    image = make(60, 75, seed=low)
    second = second_canny(image, min(low, high), max(low, high))
    assert 0 < (second > 0).mean() < 1
    assert np.array_equal(pixels(image, "canny", low=low, high=high), np.repeat(second[:, :, None], 3, axis=2))


def test_canny_looks_at_all_three_channels():
    image = np.full((20, 20, 3), 90, np.uint8)
    image[:, 10:] = (180, 0, 90)  # as bright as the other side
    assert pixels(image, "canny")[:, 9:11].any()


def test_the_defaults_are_100_and_200():
    image = cloud(40, 40)
    assert np.array_equal(pixels(image, "canny"), pixels(image, "canny", low=100, high=200))
