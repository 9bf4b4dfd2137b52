"""Masks: what they mean, where they lie, and what they leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from webui.images.mask import blur_mask, composite, crop_region, fill_masked, load_mask, paste_region
from webui.schema.errors import BadImage

RNG = np.random.default_rng(0)


def noise(width, height):
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask_of(width, height, box):
    mask = Image.new("L", (width, height))
    mask.paste(255, box)
    return mask


def test_the_mask_of_an_opaque_picture_is_its_brightness():
    mask = load_mask(Image.new("RGB", (9, 9), "white"))
    assert (mask.mode, mask.getextrema()) == ("L", (255, 255))
    assert load_mask(Image.new("RGBA", (9, 9), (0, 0, 0, 255))).getextrema() == (0, 0)


def test_the_mask_of_a_transparent_picture_is_its_opacity():
    image = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    image.putpixel((4, 4), (0, 0, 0, 200))
    mask = load_mask(image)
    assert mask.getpixel((4, 4)) == 200
    assert mask.getbbox() == (4, 4, 5, 5)


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(BadImage, match="The mask is 9x8 pixels, the picture 16x16") as caught:
        load_mask(Image.new("L", (9, 8)), (16, 16))
    assert caught.value.cure
    assert load_mask(Image.new("L", (16, 16)), (16, 16)).size == (16, 16)


def test_without_a_radius_a_mask_stays_as_it_is():
    mask = mask_of(20, 20, (5, 5, 10, 10))
    assert blur_mask(mask, 0) is mask


@pytest.mark.parametrize("radius", [1, 4, 7.5])
def test_a_blur_is_a_gaussian_cut_off_at_two_and_a_half_deviations(radius):
    line = np.asarray(blur_mask(mask_of(101, 101, (50, 0, 101, 101)), radius))[50].astype(float)
    reach = int(2.5 * radius + 0.5)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * radius**2))
    step = np.repeat([0.0, 255.0], [50, 51])
    expected = np.convolve(np.pad(step, reach, mode="edge"), weights / weights.sum(), mode="valid")
    assert abs(line - expected).max() <= 1
    assert line[: 50 - reach].max() == 0


def test_the_region_is_the_mask_with_padding_inside_the_picture():
    mask = mask_of(200, 100, (50, 40, 60, 50))
    assert crop_region(mask, 8, 1.0).box == (42, 32, 68, 58)
    assert crop_region(mask_of(200, 100, (0, 0, 10, 10)), 8, 1.0).box == (0, 0, 18, 18)
    assert crop_region(mask_of(200, 100, (195, 95, 200, 100)), 8, 1.0).box == (187, 87, 200, 100)


def test_the_region_is_widened_to_the_aspect_it_is_drawn_at():
    assert crop_region(mask_of(200, 100, (50, 40, 60, 60)), 0, 2.0).box == (35, 40, 75, 60)
    assert crop_region(mask_of(200, 100, (50, 40, 70, 50)), 0, 0.5).box == (50, 25, 70, 65)


def test_a_region_at_the_rim_is_shifted_inwards():
    assert crop_region(mask_of(200, 100, (0, 40, 10, 60)), 0, 2.0).box == (0, 40, 40, 60)
    assert crop_region(mask_of(200, 100, (190, 40, 200, 60)), 0, 2.0).box == (160, 40, 200, 60)


def test_an_empty_mask_has_no_region():
    with pytest.raises(BadImage, match="empty"):
        crop_region(Image.new("L", (20, 20)), 4, 1.0)


boxes = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 60), st.integers(1, 40)).map(
    lambda box: (box[0], box[1], min(box[0] + box[2], 61), min(box[1] + box[3], 41))
)


@given(boxes, st.integers(0, 40), st.floats(0.2, 5))
def test_every_region_holds_the_mask_and_lies_in_the_picture(box, padding, aspect):
    mask = mask_of(61, 41, box)
    region = crop_region(mask, padding, aspect)
    left, top, right, bottom = region.box
    assert 0 <= left <= box[0] < box[2] <= right <= 61
    assert 0 <= top <= box[1] < box[3] <= bottom <= 41
    width, height = region.size
    near = abs(width / height - aspect) <= aspect * (2 / height + 2 / width)
    assert near or width == 61 or height == 41


@given(st.integers(8, 50), st.integers(8, 50), st.integers(0, 9))
def test_where_the_blurred_mask_is_black_the_picture_stays_bit_for_bit(width, height, radius):
    whole, drawn = noise(width, height), noise(width, height)
    mask = blur_mask(mask_of(width, height, (width // 3, height // 3, width // 2 + 1, height // 2 + 1)), radius)
    found, below, above, share = (np.asarray(image) for image in (composite(whole, drawn, mask), whole, drawn, mask))
    assert np.array_equal(found[share == 0], below[share == 0])
    assert np.array_equal(found[share == 255], above[share == 255])
    exact = below + (above.astype(float) - below) * share[..., None] / 255
    assert abs(found - exact).max() <= 0.51


@given(boxes, st.integers(0, 9), st.integers(0, 40), st.sampled_from([(64, 64), (40, 96), (8, 8)]))
def test_pasting_a_region_back_leaves_all_else_bit_for_bit(box, radius, padding, size):
    whole = noise(61, 41)
    mask = blur_mask(mask_of(61, 41, box), radius)
    if mask.getbbox() is None:
        return
    region = crop_region(mask, padding, size[0] / size[1])
    found = np.asarray(paste_region(whole, noise(*size), region))
    outside = np.asarray(mask) == 0
    assert np.array_equal(found[outside], np.asarray(whole)[outside])


def test_a_region_drawn_at_its_own_size_is_pasted_exactly():
    whole, mask = noise(60, 40), mask_of(60, 40, (10, 10, 30, 20))
    region = crop_region(mask, 4, 24 / 18)
    drawn = noise(*region.size)
    found = paste_region(whole, drawn, region)
    expected = whole.copy()
    expected.paste(drawn, region.box[:2], mask.crop(region.box))
    assert found.tobytes() == expected.tobytes()
    assert whole.tobytes() != found.tobytes()


def test_fill_takes_colours_from_around_the_mask():
    image = Image.new("RGB", (64, 64), (200, 30, 60))
    image.paste((0, 255, 0), (20, 20, 40, 40))
    found = np.asarray(fill_masked(image, mask_of(64, 64, (20, 20, 40, 40)))).astype(int)
    assert abs(found - (200, 30, 60)).max() <= 8  # eight bits hold little colour where the blur is thin


def test_fill_keeps_what_is_not_masked():
    image, mask = noise(64, 48), mask_of(64, 48, (20, 20, 30, 30))
    found, outside = np.asarray(fill_masked(image, mask)), np.asarray(mask) == 0
    assert np.array_equal(found[outside], np.asarray(image)[outside])


def test_fill_of_a_wholly_masked_picture_is_some_picture():
    image = fill_masked(noise(32, 32), Image.new("L", (32, 32), 255))
    assert (image.mode, image.size) == ("RGB", (32, 32))
