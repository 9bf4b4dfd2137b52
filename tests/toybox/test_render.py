import random

import numpy as np
import pytest

from models.toybox.data import open_dataset, render_dataset
from models.toybox.render import render
from models.toybox.world import COLORS, SHAPES, Facts, ThingWords, build_scene, parse_caption, scene_of


def test_the_same_seed_gives_the_same_pixels():
    for seed in range(4):
        one, two = render(scene_of(seed), 64), render(scene_of(seed), 64)
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.inverse_depth, two.inverse_depth)
        assert np.array_equal(one.owner, two.owner)


def test_most_keypoints_of_a_person_lie_inside_the_picture_on_the_person():
    people = [scene_of(seed) for seed in range(120) if scene_of(seed).people and len(scene_of(seed).subjects) == 1]
    assert len(people) > 15
    for scene in people:
        drawing = render(scene, 64, samples=1)
        (points,) = drawing.keypoints
        assert points.shape == (18, 2)
        assert (points > 0).mean() > 0.95
        assert (points < 64).mean() > 0.95
        x, y = points.clip(0, 63).astype(int).T
        assert (drawing.owner[y, x] == 0).mean() > 0.7


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_has_its_colour_on_the_pixels_it_owns(shape):
    scene = build_scene(Facts((ThingWords("big", "red", shape),), None, "green", "blue"), random.Random(0))
    drawing = render(scene, 64)
    mine = drawing.image[drawing.owner == 0].mean(0) / 255
    assert (drawing.owner == 0).sum() > 100
    assert np.abs(mine - COLORS["red"]).max() < 0.3
    assert mine.argmax() == 0


def test_a_nearer_thing_has_a_larger_inverse_depth_than_floor_and_sky():
    drawing = render(build_scene(parse_caption("a big red ball on a green floor, blue sky"), random.Random(1)), 64)
    ball, sky = drawing.inverse_depth[drawing.owner == 0], drawing.inverse_depth[drawing.owner == -2]
    assert ball.min() > sky.max()
    assert sky.max() == pytest.approx(1 / 25)


def test_a_picture_of_twice_the_size_shows_the_same_scene():
    small, large = render(scene_of(5), 32), render(scene_of(5), 64)
    halved = large.image.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(halved - small.image).mean() < 3


def test_rendering_goes_on_where_it_stopped(tmp_path):
    render_dataset(tmp_path, 6, 16, workers=1)
    whole = open_dataset(tmp_path).images.copy()
    (tmp_path / "done.txt").write_text("3")
    with open(tmp_path / "images.npy", "r+b") as file:
        file.seek(-3 * 16 * 16 * 3, 2)
        file.write(bytes(3 * 16 * 16 * 3))
    assert len(open_dataset(tmp_path)) == 3
    render_dataset(tmp_path, 6, 16, workers=1)
    assert np.array_equal(open_dataset(tmp_path).images, whole)


def test_a_folder_of_another_count_is_refused(tmp_path):
    render_dataset(tmp_path, 2, 16, workers=1)
    with pytest.raises(ValueError, match="holds 2 pictures, not 3"):
        render_dataset(tmp_path, 3, 16, workers=1)
