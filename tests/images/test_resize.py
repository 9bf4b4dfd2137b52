"""Bringing pictures to a size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from webui.images.resize import crop_back, pad_to_multiple, resize_to
from webui.schema.requests import RESIZE_MODES


def gradient(width, height):
    """Red grows to the right, green downwards; blue is 0."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_picture_of_the_right_size_is_left_alone(mode):
    image = gradient(40, 24)
    assert resize_to(image, 40, 24, mode) is image


@given(st.tuples(*[st.integers(8, 70)] * 4), st.sampled_from(RESIZE_MODES), st.sampled_from(["RGB", "L", "RGBA"]))
def test_every_mode_gives_exactly_the_size(sizes, mode, colours):
    width, height, new_width, new_height = sizes
    found = resize_to(Image.new(colours, (width, height), 77), new_width, new_height, mode)
    assert (found.size, found.mode) == ((new_width, new_height), colours)


def test_just_resize_stretches():
    found = np.asarray(resize_to(gradient(40, 20), 40, 40, "Just resize"))
    assert found[:, 0, 0].max() < 8
    assert found[:, -1, 0].min() > 247
    assert found[0, :, 1].max() < 8
    assert found[-1, :, 1].min() > 247


def test_crop_and_resize_cuts_both_sides_evenly():
    found = np.asarray(resize_to(gradient(80, 40), 40, 40, "Crop and resize")).astype(int)
    assert abs(found[0, 0, 0] + found[0, -1, 0] - 255) <= 2
    assert 60 < found[0, 0, 0] < 68  # a quarter of the width is gone
    assert found[0, 0, 1] < 8
    assert found[-1, 0, 1] > 247


def test_resize_and_fill_continues_the_rim():
    found = np.asarray(resize_to(gradient(80, 40), 40, 40, "Resize and fill"))
    assert np.array_equal(found[:10], np.repeat(found[10:11], 10, axis=0))
    assert np.array_equal(found[30:], np.repeat(found[29:30], 10, axis=0))
    assert found[0, -1, 0] > 247


@given(st.integers(8, 70), st.integers(8, 70), st.sampled_from([8, 16, 64]), st.sampled_from(["RGB", "L"]))
def test_padding_to_a_multiple_is_undone_exactly(width, height, multiple, colours):
    image = gradient(width, height).convert(colours)
    padded = pad_to_multiple(image, multiple)
    assert (padded.width % multiple, padded.height % multiple) == (0, 0)
    assert padded.width - width < multiple
    assert crop_back(padded, width, height).tobytes() == image.tobytes()


def test_padding_mirrors_the_picture():
    padded = np.asarray(pad_to_multiple(gradient(13, 16), 8))
    assert np.array_equal(padded[:, 13:16], padded[:, [11, 10, 9]])


def test_a_picture_that_is_a_multiple_is_left_alone():
    image = gradient(16, 24)
    assert pad_to_multiple(image, 8) is image
    assert crop_back(image, 16, 24) is image
