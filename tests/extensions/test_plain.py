"""The preprocessors that need no model file, each against a second writing of what its README says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests.extensions.support import cloud, context, manifest, noise, pixels, run


def grey(map: np.ndarray) -> np.ndarray:
    """The one channel of a map whose three are equal."""
    assert np.array_equal(map[:, :, 0], map[:, :, 1])
    assert np.array_equal(map[:, :, 0], map[:, :, 2])
    return map[:, :, 0]


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """scipy's Gaussian of every channel, cut off where OpenCV cuts its own for float pictures."""
    radius = (round(sigma * 8 + 1) | 1) // 2
    return ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="mirror", radius=radius, axes=None)


def test_invert_takes_every_value_from_255():
    image = noise(5, 7)
    assert np.array_equal(pixels(image, "invert"), 255 - image)


def test_threshold_is_white_where_all_channels_are_above_it():
    image = np.array([[[128, 200, 255], [127, 255, 255], [255, 255, 128], [0, 0, 0]]], np.uint8)
    assert grey(pixels(image, "threshold")).tolist() == [[255, 0, 255, 0]]
    assert grey(pixels(image, "threshold", threshold=0)).tolist() == [[255, 255, 255, 0]]
    assert grey(pixels(image, "threshold", threshold=255)).tolist() == [[0, 0, 0, 0]]


def test_tile_at_rate_1_is_the_picture_itself():
    image = noise(9, 13)
    assert np.array_equal(pixels(image, "tile", "tile_resample"), image)


def test_tile_keeps_the_size_and_the_mean_of_a_picture_and_loses_its_details():
    image = noise(64, 96)
    coarse = pixels(image, "tile", "tile_resample", rate=8)
    means = image.reshape(8, 8, 12, 8, 3).mean(axis=(1, 3))
    assert coarse.shape == image.shape
    assert coarse.std() < image.std() / 4
    assert np.abs(coarse.reshape(8, 8, 12, 8, 3).mean(axis=(1, 3)) - means).mean() < 4


def test_tile_of_large_squares_keeps_the_middle_of_each_square():
    squares = np.kron(noise(4, 6), np.ones((16, 16, 1), np.uint8))
    coarse = pixels(squares, "tile", "tile_resample", rate=2)
    assert np.array_equal(coarse[8::16, 8::16], squares[8::16, 8::16])


def test_a_gaussian_blur_is_the_same_as_scipys():
    image = noise(80, 60)
    wide = pixels(image, "tile", "blur_gaussian", sigma=3)
    radius = ((3 * 6 + 1) | 1) // 2  # OpenCV cuts at three sigma for bytes
    second = ndimage.gaussian_filter(image.astype(float), (3, 3, 0), mode="mirror", radius=(radius, radius, 0))
    assert np.abs(wide - second).max() <= 2  # OpenCV's kernel for bytes has eight binary places
    assert np.abs(wide - second).mean() <= 0.6


def test_the_colour_grid_has_one_colour_per_cell():
    image = np.kron(noise(2, 3), np.ones((64, 64, 1), np.uint8))
    assert np.array_equal(pixels(image, "tile", "t2ia_color_grid"), image)
    assert len(np.unique(pixels(noise(130, 200), "tile", "t2ia_color_grid").reshape(-1, 3), axis=0)) <= 6


def lightness(rgb: np.ndarray) -> np.ndarray:
    """L* of CIE LAB in 0..255 from the definition: sRGB to linear light to Y of D65."""
    share = rgb / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    y = linear @ [0.212671, 0.715160, 0.072169]
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3) / 100 * 255


def test_recolor_luminance_is_the_lightness_of_rgb_and_not_of_bgr():
    image = noise(32, 32)
    assert np.abs(grey(pixels(image, "recolor", "recolor_luminance")) - lightness(image)).max() <= 1.5
    pure = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert np.abs(grey(pixels(pure, "recolor", "recolor_luminance")) - [[136, 82]]).max() <= 1


def test_recolor_intensity_is_the_brightest_channel():
    image = noise(16, 16)
    assert np.array_equal(grey(pixels(image, "recolor", "recolor_intensity")), image.max(axis=2))
    hsv = np.asarray(Image.fromarray(image).convert("HSV"))
    assert np.array_equal(grey(pixels(image, "recolor", "recolor_intensity")), hsv[:, :, 2])


@pytest.mark.parametrize(("gamma", "of_64"), [(0.5, 128), (1.0, 64), (2.0, 16)])
def test_recolors_gamma_is_a_power_of_the_light(gamma: float, of_64: int):
    image = np.array([[[64, 0, 0], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert grey(pixels(image, "recolor", "recolor_intensity", gamma=gamma)).tolist() == [[of_64, 255, 0]]


def test_line_art_is_the_same_as_its_second_writing():
    image = cloud(90, 70)
    darker = np.clip((blurred(image, 6) - image).min(axis=2), 0, 255)
    second = np.clip(darker / max(16, np.median(darker[darker > 8])) * 127, 0, 255).astype(int)
    assert np.abs(grey(pixels(image, "lineart", "lineart_standard")).astype(int) - second).max() <= 1


def test_line_art_of_white_paper_is_black():
    assert not pixels(np.full((40, 40, 3), 255, np.uint8), "lineart", "lineart_standard").any()


def test_line_art_shows_dark_lines_on_light_paper_and_not_light_lines_on_dark():
    paper = np.full((60, 60, 3), 255, np.uint8)
    paper[:, 29:31] = 0
    drawn = grey(pixels(paper, "lineart", "lineart_standard"))
    assert drawn[30, 29:31].min() >= 120
    assert drawn[:, :10].max() == 0
    assert grey(pixels(255 - paper, "lineart", "lineart_standard"))[30, 29:31].max() == 0


def sobel(image: np.ndarray, sigma: float) -> np.ndarray:
    smooth = blurred(image, sigma)
    steps = [
        np.hypot(ndimage.sobel(c, 0, mode="mirror"), ndimage.sobel(c, 1, mode="mirror"))
        for c in smooth.transpose(2, 0, 1)
    ]
    return np.max(steps, axis=0)


def test_soft_edges_are_the_same_as_their_second_writing():
    image = cloud(64, 72)
    strength = sobel(image, 1.5)
    second = np.clip(strength / max(32, np.percentile(strength, 99)), 0, 1) * 255
    assert np.abs(grey(pixels(image, "softedge", "softedge_sobel")) - second).max() <= 1


def test_safe_soft_edges_have_three_greys():
    safe = grey(pixels(cloud(64, 64), "softedge", "softedge_sobel", safe=True))
    assert np.unique(safe).tolist() == [0, 128, 255]


def test_soft_edges_of_a_flat_picture_are_black():
    assert not pixels(np.full((32, 32, 3), 90, np.uint8), "softedge", "softedge_sobel").any()


def test_an_xdog_scribble_is_white_where_the_picture_is_darker_than_around_it():
    image = cloud(80, 80)
    image[20:60, 38:42] = 0
    darker = np.clip((blurred(image, 5) - blurred(image, 0.5)).min(axis=2), 0, 255)
    certain = np.abs(darker - 16) > 1  # rounding to bytes and back
    drawn = grey(pixels(image, "scribble", "scribble_xdog"))
    assert set(np.unique(drawn)) == {0, 255}
    assert np.array_equal((drawn == 255)[certain], (darker > 16)[certain])


def test_thick_outlines_follow_the_outline_of_a_square_and_nothing_else():
    image = np.zeros((128, 128, 3), np.uint8)
    image[40:90, 40:90] = 255
    drawn = grey(pixels(image, "scribble", "scribble_edges"))
    assert set(np.unique(drawn)) == {0, 255}
    assert drawn[64, 38:42].min() == 255
    assert drawn[89:91, 64].min() == 255
    assert drawn[55:75, 55:75].max() == 0
    assert drawn[:24].max() == 0
    assert 5 <= (drawn[64, :64] == 255).sum() <= 25


def test_strokes_of_any_colour_on_any_paper_become_white_on_black():
    paper = np.full((20, 30, 3), (250, 240, 200), np.uint8)
    paper[5:8, 4:20] = (20, 30, 150)
    paper[12, 10:25] = (250, 240, 120)
    drawn = grey(pixels(paper, "scribble", "scribble_drawing"))
    second = np.zeros((20, 30), int)
    second[5:8, 4:20] = second[12, 10:25] = 255
    assert np.array_equal(drawn, second)
    assert np.array_equal(grey(pixels(255 - paper, "scribble", "scribble_drawing")), second)


def test_shuffle_stirs_by_the_seed_of_the_job_alone():
    image = cloud(96, 128)
    first, again, other = (run("shuffle", image, context(seed=seed)).image for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    state = np.random.get_state()[1].copy()
    run("shuffle", image)
    assert np.array_equal(state, np.random.get_state()[1])


def test_shuffle_fetches_every_pixel_from_a_place_between_the_edges():
    rows, columns = np.mgrid[0:200, 0:256]
    places = np.stack([columns, rows, np.full_like(rows, 7)], axis=2).astype(np.uint8)
    stirred = run("shuffle", places, context(seed=1)).image
    assert (stirred[:, :, 2] == 7).all()
    assert stirred[:, :, 0].min() == 0
    assert stirred[:, :, 0].max() == 255
    assert stirred[:, :, 1].min() == 0
    assert stirred[:, :, 1].max() == 199
    assert np.abs(np.diff(stirred[:, :, 0].astype(int), axis=1)).max() <= 12


def test_straight_lines_are_those_of_the_picture():
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:150, 60:240] = 255
    found = run("lines", image, as_="mlsd_lsd")
    lines = np.array(found.data["lines"])
    assert len(lines) == 4
    for line, expected in zip(lines, [(60, 240), (60, 240), (50, 150), (50, 150)], strict=True):
        axis = 0 if expected == (60, 240) else 1
        ends = np.sort(line.reshape(2, 2)[:, axis])
        assert np.abs(ends - expected).max() <= 3
    assert np.argwhere(grey(found.image)).min(axis=0).tolist() == pytest.approx([50, 60], abs=2)
    assert np.argwhere(grey(found.image)).max(axis=0).tolist() == pytest.approx([150, 240], abs=2)
    assert (found.image > 0).mean() < 0.02


def test_short_lines_are_left_out():
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:150, 60:240] = 255
    long = run("lines", image, as_="mlsd_lsd", length=0.8)
    assert len(long.data["lines"]) == 2
    assert not run("lines", np.zeros((40, 40, 3), np.uint8), as_="mlsd_lsd").image.any()


@pytest.mark.parametrize(
    "id",
    ["canny", "invert", "lineart", "lines", "recolor", "scribble", "shuffle", "softedge", "threshold", "tile"],
)
def test_any_size_is_kept_and_the_picture_that_came_in_is_not_written_to(id: str):
    for size in ((1, 1), (3, 200), (65, 33)):
        image = noise(*size)
        before = image.copy()
        for spec in manifest(id).preprocessors:
            assert pixels(image, id, spec.id).shape == (*size, 3)
        assert np.array_equal(image, before)
