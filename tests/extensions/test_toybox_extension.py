"""The estimators that ship: near is white, joints are where they are, and nobody gives no skeleton."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from extensions.toybox.networks import tops
from models.toybox.data import HELD_OUT
from models.toybox.estimator_data import nearness
from models.toybox.measure_estimators import joints_right
from models.toybox.render import Rendering, render
from models.toybox.world import scene_of
from tests.extensions.support import ROOT, Pixels, context, run
from webui.ext.maps import Map, PreprocessContext

FOLDER = ROOT / "toybox"


def rendered(with_person: bool, count: int = 6) -> list[Rendering]:
    """The first held-out scenes with a person, or without one."""
    scenes = (scene_of(seed) for seed in range(HELD_OUT, HELD_OUT + 100))
    return [render(scene) for scene in islice((one for one in scenes if bool(one.people) == with_person), count)]


def lent() -> PreprocessContext:
    """A context that lends the preprocessors of the extension `pose`."""

    def preprocess(id: str, image: Pixels, **values: object) -> Map:
        return run("pose", image, as_=id, **values)

    return context(preprocess=preprocess)


def depth(image: Pixels, ctx: PreprocessContext | None = None) -> Map:
    return run("toybox", image, ctx, as_="toybox_depth")


def pose(image: Pixels, **values: float) -> Map:
    return run("toybox", image, lent(), as_="toybox_pose", **values)


def joints_of(found: Map) -> np.ndarray:
    """(18 3) of the one person of a map."""
    assert len(found.data["people"]) == 1
    return np.array(found.data["people"][0]["pose_keypoints_2d"]).reshape(18, 3)


@pytest.mark.parametrize("scene", [*rendered(with_person=True, count=3), *rendered(with_person=False, count=3)])
def test_near_is_white_and_the_sky_is_black(scene: Rendering):
    found = depth(scene.image)
    grey = found.image[:, :, 0].astype(float)
    assert (found.image == found.image[:, :, :1]).all()
    assert (found.image.min(), found.image.max()) == (0, 255)
    true = nearness(torch.from_numpy(scene.inverse_depth)[None])[0].numpy()
    assert grey[true > 0.9].mean() > 200
    assert grey[scene.owner == -2].mean() < 15
    assert np.abs(grey / 255 - true).mean() < 0.05
    assert found.data.dtype == np.float32


@pytest.mark.parametrize("scene", rendered(with_person=False))
def test_a_thing_is_lighter_than_the_floor_behind_it(scene: Rendering):
    rows, columns = np.nonzero(scene.owner == 0)
    top, middle = rows.min(), int(np.median(columns[rows == rows.min()]))
    near = depth(scene.image).data
    assert near[top + 6, middle] > near[top - 6, middle]


@pytest.mark.parametrize("scene", rendered(with_person=True))
def test_joints_lie_within_a_tenth_of_the_bodys_height(scene: Rendering):
    found = joints_of(pose(scene.image))
    right = joints_right(found, scene.keypoints[0])
    assert right[found[:, 2] > 0].mean() >= 0.9
    assert (found[:, 2] > 0).sum() >= 16


def test_the_skeleton_is_drawn_as_the_pose_extension_draws_its_json():
    found = pose(rendered(with_person=True)[0].image)
    again = run("pose", found.image, as_="openpose_json", pose=json.dumps(found.data))
    assert found.image.any()
    assert np.array_equal(again.image, found.image)


@pytest.mark.parametrize("scene", rendered(with_person=False))
def test_a_scene_with_nobody_is_a_black_map(scene: Rendering):
    found = pose(scene.image)
    assert found.data == {"people": [], "canvas_height": 128, "canvas_width": 128}
    assert not found.image.any()


def test_certainty_decides_who_and_what_is_left_out():
    image = rendered(with_person=True)[0].image
    all_joints = joints_of(pose(image, person=0.05, joint=0.05))
    least = float(np.sort(all_joints[:, 2])[9]) - 1e-3
    some = joints_of(pose(image, person=0.05, joint=max(least, 0.05)))
    assert np.array_equal(some[:, 2] > 0, all_joints[:, 2] >= max(least, 0.05))
    assert pose(image, person=0.95, joint=0.05).data["people"] == []


@pytest.mark.parametrize("size", [(128, 128), (97, 131), (192, 96), (40, 33), (300, 257)])
def test_a_map_is_as_large_as_its_picture(size: tuple[int, int]):
    scene = rendered(with_person=True)[0]
    image = np.asarray(torch.nn.functional.interpolate(as_rows(scene.image), size, mode="nearest")[0].permute(1, 2, 0))
    image = image.astype(np.uint8)
    assert depth(image).image.shape == (*size, 3)
    found = pose(image)
    assert found.image.shape == (*size, 3)
    assert (found.data["canvas_height"], found.data["canvas_width"]) == size


def as_rows(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()


def test_a_picture_twice_as_large_has_the_same_joints_twice_as_far():
    image = rendered(with_person=True)[0].image
    small, large = joints_of(pose(image)), joints_of(pose(image.repeat(2, axis=0).repeat(2, axis=1)))
    assert np.abs(2 * small[:, :2] - large[:, :2]).max() < 4


def test_networks_are_loaded_once():
    made: list[str] = []
    ctx = lent()

    def load(key: str, make: Callable[[], Any]) -> Any:
        return ctx.load(key, lambda: made.append(key) or make())

    noted = PreprocessContext(**{**vars(ctx), "load": load})
    image = rendered(with_person=False, count=1)[0].image
    for id in ("toybox_depth", "toybox_pose") * 2:
        run("toybox", image, noted, as_=id)
    assert made == ["depth", "pose"]


@pytest.mark.parametrize("name", ["depth", "pose"])
def test_a_network_has_at_most_3_mb_of_fp16(name: str):
    path = FOLDER / name / "model.safetensors"
    assert path.stat().st_size <= 3_000_000
    with safe_open(path, "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    assert {file.name for file in (FOLDER / name).iterdir()} == {"config.json", "model.safetensors"}


def test_the_top_of_a_gauss_curve_is_found_between_the_cells():
    rows, columns = np.mgrid[0:32, 0:32] + 0.5
    points = [(10.3, 20.9), (3.5, 4.0), (28.2, 16.6)]
    hills = np.stack([0.8 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.25**2)) for x, y in points])
    found = tops(torch.from_numpy(hills).float()[None])[0].numpy()
    assert found[:, :2] * 32 == pytest.approx(np.array(points), abs=1e-3)
    assert (found[:, 2] <= 0.8).all()
    assert (found[:, 2] > 0.6).all()


def test_a_flat_heatmap_has_a_top_of_no_height():
    found = tops(torch.zeros(1, 2, 32, 32))
    assert found.isfinite().all()
    assert (found[..., 2] == 0).all()
