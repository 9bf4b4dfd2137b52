"""What the estimators learn from, and that their training goes on where it stopped; on a dozen scenes."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForDepthEstimation, AutoModelForSemanticSegmentation

from models.toybox import train_estimators
from models.toybox.config import PICTURE_SIZE, Runs
from models.toybox.data import render_dataset
from models.toybox.estimator_data import as_bytes, as_tensor, nearness, open_truths
from models.toybox.estimators import NAMES
from models.toybox.export import CHECKPOINT
from models.toybox.measure_estimators import correlation_inside, joints_right, pose_figures
from models.toybox.sample import load_model
from models.toybox.train_estimators import MIRRORED, Lesson, export, heat_of, lesson, train, viewed, views, weights_of
from models.toybox.training import load
from models.toybox.world import KEYPOINTS

SCENES, CODED = 12, 6


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("runs"))
    render_dataset(runs.data, SCENES, PICTURE_SIZE, workers=1)
    return runs


@pytest.fixture(scope="module")
def data(runs):
    return open_truths(runs, load_model(CHECKPOINT).loaded.vae, SCENES, CODED)


def test_truths_belong_to_their_pictures(data):
    assert len(data) == SCENES
    assert data.coded.shape == (CODED, PICTURE_SIZE, PICTURE_SIZE, 3)
    assert np.abs(data.coded.astype(int) - data.pictures.images[:CODED]).mean() < 8
    for depth, joints, owner in zip(data.depths, data.joints, data.pictures.owners, strict=True):
        assert np.median(depth[owner == -2].astype(float)) == pytest.approx(0.04, abs=1e-3)
        assert depth[owner != -2].astype(float).min() >= 0.04 - 1e-3
        if not np.isnan(joints).any():
            column, row = joints[KEYPOINTS.index("neck")].astype(int)
            assert owner[row, column] >= 0


def test_nearness_is_0_in_the_sky_and_1_at_the_nearest_pixel():
    depths = torch.tensor([[[0.04, 0.24, 0.44]], [[0.04, 0.04, 0.04]]])
    torch.testing.assert_close(nearness(depths), torch.tensor([[[0, 0.5, 1]], [[0, 0, 0]]]))


def test_bytes_become_a_tensor_and_bytes_again():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    assert np.array_equal(as_bytes(as_tensor(pixels)), pixels)


def test_a_hill_stands_on_each_joint_and_none_where_it_is_outside_or_missing():
    joints = torch.tensor([[[0.5, 0.25], [1.2, 0.5], [torch.nan, torch.nan]]])
    heat = heat_of(joints)[0]
    assert heat[0].max() > 0.8
    assert int(heat[0].argmax()) in {row * 32 + column for row in (7, 8) for column in (15, 16)}
    assert not heat[1:].any()


def test_subjects_and_what_is_around_them_count_more():
    owners = torch.full((1, 20, 20), -1, dtype=torch.int8)
    owners[0, :5], owners[0, 10, 10] = -2, 0
    weights = weights_of(owners)[0]
    assert weights[10, 10] == 12
    assert int((weights[6:15, 6:15] == 6).sum()) == 80
    assert int((weights == 1).sum()) == 400 - 81


def test_a_mirror_swaps_right_and_left():
    for here, there in enumerate(MIRRORED):
        one, other = KEYPOINTS[here], KEYPOINTS[there]
        assert (one, other) in {("nose", "nose"), ("neck", "neck")} or {one[:2], other[:2]} == {"r_", "l_"}
        assert one.removeprefix("r_").removeprefix("l_") == other.removeprefix("r_").removeprefix("l_")


def dots(joints):
    """Pictures (b 3 128 128) with the first joint as a light spot in red, the third in green and the sixth in blue."""
    axis = (torch.arange(128) + 0.5) / 128
    x, y = joints[:, [0, 2, 5]].unbind(-1)
    spots = torch.exp(
        -((axis - x[..., None]) ** 2)[..., None, :] * 2000 - ((axis - y[..., None]) ** 2)[..., None] * 2000
    )
    return spots * 2 - 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_joints_and_depth_stay_on_the_picture_whatever_part_is_seen(mirrored):
    joints = torch.full((1, 18, 2), torch.nan)
    joints[0, [0, 2, 5]] = torch.tensor([[0.5, 0.4], [0.35, 0.6], [0.7, 0.55]])
    pictures = dots(joints)
    corner, size = ([0.9, 0.2], [-0.75, 0.7]) if mirrored else ([0.15, 0.2], [0.75, 0.7])
    seen = viewed(Lesson(pictures, pictures[:, 0], pictures[:, 1], joints), torch.tensor([[corner, size]]))
    order = [0, 5, 2] if mirrored else [0, 2, 5]  # what was green is the other side's joint now
    for channel, joint in enumerate(order):
        top = int(seen.pictures[0, channel].flatten().argmax())
        place = torch.tensor([top % 128 + 0.5, top // 128 + 0.5]) / 128
        torch.testing.assert_close(seen.joints[0, joint], place, atol=0.01, rtol=0)
    assert seen.near[0].argmax() == seen.pictures[0, 0].argmax()
    assert seen.weights[0].argmax() == seen.pictures[0, 1].argmax()


def test_most_views_are_whole_and_the_others_lie_inside():
    corner, size = views(600, torch.Generator().manual_seed(0)).unbind(1)
    ends = torch.stack([corner, corner + size])
    assert ends.min() >= -1e-6
    assert ends.max() <= 1 + 1e-6
    assert (size.abs() == 1).all(1).float().mean() == pytest.approx(0.67, abs=0.06)
    assert (size[:, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_has_the_same_lesson_whenever_it_is_made(data, name):
    one, two = lesson(data, name, 5), lesson(data, name, 5)
    assert torch.equal(one.pictures, two.pictures)
    assert torch.equal(one.near, two.near)
    assert one.pictures.shape == (train_estimators.BATCH, 3, PICTURE_SIZE, PICTURE_SIZE)


@pytest.mark.parametrize("name", NAMES)
def test_training_goes_on_where_it_stopped_and_is_exported_for_transformers(data, name, tmp_path, monkeypatch):
    monkeypatch.setattr(train_estimators, "BATCH", 4)
    whole, parted = Runs(tmp_path / "whole"), Runs(tmp_path / "parted")
    for each in (whole, parted):
        each.root.mkdir()
    train(whole, name, data, 3)
    monkeypatch.setattr(train_estimators, "EVERY", 2)
    monkeypatch.setattr(train_estimators, "counted", lambda first, steps: range(first, min(2, steps)))
    train(parted, name, data, 3)
    assert load(parted.estimator(name))["step"] == 2
    monkeypatch.setattr(train_estimators, "counted", range)
    train(parted, name, data, 3)
    one, other = load(whole.estimator(name)), load(parted.estimator(name))
    assert one["step"] == other["step"] == 3
    assert all(torch.equal(one["ema"][key], other["ema"][key]) for key in one["ema"])
    export(parted, name, tmp_path)
    kind = AutoModelForDepthEstimation if name == "depth" else AutoModelForSemanticSegmentation
    network = kind.from_pretrained(tmp_path / name, local_files_only=True, dtype=torch.float32)
    for key, value in network.named_parameters():
        torch.testing.assert_close(value.float(), other["ema"][key].half().float(), msg=key)


def test_the_mean_map_of_the_world_counts_for_nothing():
    mean, mask = torch.rand(8, 8), torch.rand(5, 8, 8) < 0.5
    true = mean + 0.1 * torch.randn(5, 8, 8)
    assert correlation_inside(true, true, mask, mean) == pytest.approx(1, abs=1e-5)
    assert correlation_inside(mean + 0.1 * torch.randn(5, 8, 8), true, mask, mean) < 0.4
    assert correlation_inside(2 * true - mean, true, mask, mean) == pytest.approx(1, abs=1e-5)


def test_a_joint_counts_within_a_tenth_of_the_bodys_height():
    true = np.zeros((18, 2), np.float32)
    true[:, 1] = np.linspace(20, 120, 18)
    found = np.c_[true, np.ones(18)].astype(np.float32)
    found[0, 0] += 9.9
    found[1, 0] += 10.1
    assert joints_right(found, true).tolist() == [True, False, *[True] * 16]
    assert not joints_right(None, true).any()
    nobody = np.full((18, 2), np.nan, np.float32)
    figures = pose_figures([found, None, found, None], np.stack([true, true, nobody, nobody]))
    assert list(figures.values()) == ["47.2 %", "1.11", "50.0 %", "50.0 %"]
