"""Maps brought to size: three modes, odd sizes, and maps that must stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from webui.control.geometry import (
    at_resolution,
    border_colour,
    fit,
    is_binary,
    mirrored_to,
    pixel_perfect,
    resize,
    thin,
)
from webui.schema.control import CONTROL_RESIZE_MODES

STRETCH, CROP, FILL = CONTROL_RESIZE_MODES


def gradient(h: int, w: int) -> np.ndarray:
    rows, columns = np.mgrid[0:h, 0:w]
    return np.stack([rows * 255 // max(h - 1, 1), columns * 255 // max(w - 1, 1), (rows + columns) % 256], 2).astype(
        np.uint8
    )


@pytest.mark.parametrize("mode", CONTROL_RESIZE_MODES)
@pytest.mark.parametrize("size", [(64, 64), (65, 31), (513, 40), (1, 1), (7, 200)])
@pytest.mark.parametrize("shape", [(50, 80), (51, 33), (1, 9)])
def test_every_mode_gives_the_size_that_was_asked_for(mode, size, shape):
    width, height = size
    assert fit(gradient(*shape), width, height, mode).shape == (height, width, 3)
    assert fit(gradient(*shape)[..., 0], width, height, mode, "mask").shape == (height, width)


def test_crop_and_resize_keeps_the_middle():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    assert fit(image, 10, 10, CROP).min() == 255


def test_resize_and_fill_lies_on_the_border_colour():
    image = np.full((10, 30, 3), (10, 200, 30), np.uint8)
    image[3:7, 10:20] = 255
    filled = fit(image, 30, 30, FILL, "image")
    assert (filled[:10] == (10, 200, 30)).all()
    assert (filled[20:] == (10, 200, 30)).all()
    assert np.array_equal(filled[10:20], image)


def test_a_mask_is_filled_with_white():
    mask = np.zeros((10, 30), np.uint8)
    filled = fit(mask, 30, 30, FILL, "mask")
    assert (filled[:10] == 255).all()
    assert (filled[10:20] == 0).all()


def test_the_border_colour_is_a_median():
    image = np.zeros((5, 5, 3), np.uint8)
    image[0, :2] = 255
    assert border_colour(image).tolist() == [0, 0, 0]


def test_a_palette_gains_no_new_colours():
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (9, 3))
    image = palette[rng.integers(0, 9, (20, 20))].astype(np.uint8)
    for kind in ("seg", ""):
        larger = resize(image, 90, 70, kind)
        assert {tuple(colour) for colour in larger.reshape(-1, 3)} <= {tuple(colour) for colour in palette}


@pytest.mark.parametrize("size", [(128, 128), (100, 77), (32, 32)])
def test_thin_lines_stay_thin_and_white_on_black(size):
    image = np.zeros((64, 64, 3), np.uint8)
    image[20] = 255
    image[:, 40] = 255
    found = resize(image, *size, "edges")
    assert is_binary(found)
    across = (found[: size[1] // 4, :, 0] > 0).sum(axis=1)
    assert across.max() == 1


def test_a_thick_map_keeps_its_thickness():
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = 255
    found = resize(image, 128, 128, "edges")
    assert is_binary(found)
    assert abs(int((found[..., 0] > 0).sum()) - 64 * 64) < 64 * 4


def test_a_soft_map_stays_soft():
    image = gradient(64, 64)
    assert len(np.unique(resize(image, 128, 128, "depth").reshape(-1, 3), axis=0)) > 1000


def test_thinning_leaves_connected_lines_of_one_pixel():
    image = np.zeros((30, 30), np.uint8)
    image[10:15, 3:27] = 255
    line = thin(image)
    assert (line > 0).sum(axis=0)[8:22].tolist() == [1] * 14
    assert (line[:, 3:27] > 0).any(axis=0)[2:-2].all()


@pytest.mark.parametrize(
    ("shape", "size", "mode", "expected"),
    [((512, 512), (512, 768), CROP, 768), ((512, 512), (512, 768), FILL, 512), ((100, 200), (400, 400), CROP, 400),
     ((100, 200), (400, 400), FILL, 200), ((100, 200), (400, 400), STRETCH, 400)],
)  # fmt: skip
def test_pixel_perfect_is_as_fine_as_what_is_drawn(shape, size, mode, expected):
    assert pixel_perfect(np.zeros((*shape, 3), np.uint8), *size, mode) == expected


@pytest.mark.parametrize(("shape", "expected"), [((100, 150), (64, 96)), ((37, 91), (64, 157)), ((300, 200), (96, 64))])
def test_a_map_is_made_at_the_resolution_and_padded_for_the_detector(shape, expected):
    seen: list[tuple[int, ...]] = []

    def detect(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return 255 - image

    found = at_resolution(gradient(*shape), 64, detect)
    assert found.shape[:2] == expected
    assert all(side % 64 == 0 for side in seen[0][:2])


def test_the_hint_of_an_odd_size_is_mirrored_as_the_picture_is():
    image = gradient(10, 12)
    padded = mirrored_to(image, 16, 16)
    assert np.array_equal(padded[:10, :12], image)
    assert np.array_equal(padded[10, :12], image[8])
    assert np.array_equal(padded[:10, 12], image[:, 10])
    assert torch.from_numpy(padded).shape == (16, 16, 3)
