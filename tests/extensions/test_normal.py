"""Normals on a sphere and on planes, where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.extensions.support import Pixels, context, run
from webui.ext.maps import Map, PreprocessContext

SIDE = 129


def lent(near: np.ndarray, estimator: str) -> PreprocessContext:
    """A context in which this depth preprocessor sees this nearness (h w)."""

    def preprocess(id: str, image: Pixels) -> Map:
        assert id == estimator
        return Map(image, near.astype(np.float32))

    return context(preprocess=preprocess)


def ball() -> tuple[np.ndarray, np.ndarray]:
    """Nearness (h w) of a half ball that fills the picture, 0..1, and its true normals (h w 3): right, down, front."""
    down, right = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    front = np.sqrt(np.clip(1 - right**2 - down**2, 0, None))
    return front, np.stack([right, down, front], axis=2)


def colours(near: np.ndarray, id: str = "normal_depth", estimator: str = "depth_anything_v2", **values) -> np.ndarray:
    blank = np.zeros((*near.shape, 3), np.uint8)
    return run("normal", blank, lent(near, estimator), as_=id, **values).image.astype(int)


def test_a_ball_is_red_on_its_left_green_on_its_top_and_blue_in_its_middle():
    near, normals = ball()
    found = colours(near, relief=0.5)  # half a side deep, as a ball is
    inner = near > 0.45  # towards the rim the slope becomes infinite
    second = np.stack([-normals[:, :, 0], -normals[:, :, 1], normals[:, :, 2]], axis=2) * 127.5 + 127.5
    assert np.abs(found - second)[inner].max() <= 3
    middle = SIDE // 2
    assert found[middle, middle].tolist() == [127, 127, 255]
    assert found[middle, middle // 3, 0] > 200
    assert found[middle // 3, middle, 1] > 200


def test_a_slope_of_45_degrees_to_the_left_has_the_colour_of_its_direction():
    near = np.tile(np.arange(64.0), (64, 1))  # nearest on the right: the surface faces left
    found = colours(near, relief=63 / 64)
    half = 127.5 + 127.5 / np.sqrt(2)
    assert np.abs(found[:, 1:-1] - [half, 127.5, half]).max() <= 1


def test_the_background_faces_the_viewer():
    near, _normals = ball()
    found = colours(near, background=0.8)
    assert (found[near < 0.8] == [127, 127, 255]).all()
    assert (found[near > 0.85] != [127, 127, 255]).any()


def test_a_flat_wall_faces_the_viewer():
    assert (colours(np.full((20, 30), 7.0)) == [127, 127, 255]).all()


@pytest.mark.parametrize("estimator", ["depth_anything", "depth_midas", "depth_zoe"])
def test_the_depth_comes_from_the_chosen_preprocessor(estimator: str):
    near, _normals = ball()
    blank = np.zeros((*near.shape, 3), np.uint8)
    found = run("normal", blank, lent(near, estimator), as_="normal_depth", estimator=estimator, relief=0.5)
    assert np.array_equal(found.image, colours(near, relief=0.5))


def test_midas_normals_are_those_of_controlnet_1_0():
    near = np.random.default_rng(0).uniform(0, 30, (40, 50))
    found = colours(near, "normal_midas", "depth_midas", background=0.25)
    padded = np.pad(near, 1, mode="reflect")
    across = padded[:, 2:] - padded[:, :-2]
    along = padded[2:] - padded[:-2]
    right = across[:-2] + 2 * across[1:-1] + across[2:]
    down = along[:, :-2] + 2 * along[:, 1:-1] + along[:, 2:]
    far = (near - near.min()) / (near.max() - near.min()) < 0.25
    right[far] = down[far] = 0
    length = np.sqrt(right**2 + down**2 + (2 * np.pi) ** 2)
    second = np.stack([2 * np.pi / length, down / length, right / length], axis=2) * 127.5 + 127.5
    assert np.abs(found - np.floor(second)).max() <= 1
