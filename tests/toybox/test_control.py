"""The control nets that ship, and what measures them."""

import random
from shutil import copy

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from models.toybox.control_exam import edges_of, exam
from models.toybox.estimators import depth_of, joints_of
from models.toybox.evaluate_control import f1, joints_near, read_net
from models.toybox.export import CHECKPOINT
from models.toybox.hints import KINDS, edges, gray, nearness, places, skeletons
from models.toybox.render import render
from models.toybox.train_control import CONTROL_CONFIG, FOLDER
from models.toybox.world import Facts, PersonWords, ThingWords, build_scene, full_caption
from webui import ControlUnit, Pipeline, Txt2Img
from webui.checkpoints.control import detect_control
from webui.checkpoints.header import read_header
from webui.nn.controlnet import ControlNet

PERSON = Facts((PersonWords("red", "blue", "waving"),), None, "green", "blue")
BALL = Facts((ThingWords("big", "red", "ball"),), None, "green", "blue")


def scene(facts):
    return build_scene(facts, random.Random(1))


def net(kind):
    return FOLDER / f"toybox-{kind}.safetensors"


# --- hints ---


def test_a_skeleton_has_its_joints_where_those_of_the_person_are():
    person = scene(PERSON)
    points = (places(person) * 128).astype(int)
    drawn = skeletons(person)
    assert tuple(drawn[points[10, 1], points[10, 0]]) == (0, 170, 255)  # the right ankle
    assert not skeletons(scene(BALL)).any()


def test_a_skeleton_drawn_larger_is_the_same_one_with_thinner_limbs():
    large, small = (skeletons(scene(PERSON), side).any(-1) for side in (512, 128))
    assert 0.1 * small.sum() < large.sum() < 0.6 * small.sum()
    assert (large & small).sum() > 0.95 * large.sum()


def test_near_is_white_and_the_sky_black():
    ball = scene(BALL)
    depth, owner = nearness(ball), render(ball).owner
    assert depth.max() == 255
    assert depth[owner == -2].max() <= 1
    assert depth[owner == 0].mean() > depth[owner == -1].min()


def test_edges_at_a_higher_resolution_are_the_same_edges():
    class Fine(random.Random):
        def random(self):
            return 0.0

    class Plain(random.Random):
        def random(self):
            return 0.9

    image = render(scene(BALL)).image
    fine, plain = (edges(image, rng(1))[..., 0] > 0 for rng in (Fine, Plain))
    assert f1(fine, plain) > 0.8


# --- measures ---


def test_f1_is_one_within_two_pixels_and_none_beyond():
    line = np.zeros((32, 32), bool)
    line[10] = True
    assert [round(f1(np.roll(line, shift, 0), line), 6) for shift in (0, 2, 3)] == [1, 1, 0]


def test_f1_is_the_harmonic_mean_of_both_shares():
    wanted = np.zeros((32, 32), bool)
    wanted[10], half = True, wanted.copy()
    half[10], half[10, :16] = False, True
    # all of the half is wanted; of what is wanted 16 + 2 of 32 pixels are within reach
    assert f1(half, wanted) == pytest.approx(2 * 18 / 32 / (1 + 18 / 32))


def test_a_joint_is_near_within_a_tenth_of_the_height():
    wanted = places(scene(PERSON)) * 128
    height = np.ptp(wanted[:, 1])
    moved = wanted + np.array([[0.09 * height, 0]])
    assert joints_near(moved, wanted).all()
    moved[3, 0] += 0.02 * height
    assert np.flatnonzero(~joints_near(moved, wanted)).tolist() == [3]


def test_the_scenes_of_an_exam_are_those_of_its_prompts():
    questions = exam("pose", 5)
    assert [len(asked.people) for asked in questions.scenes] == [1] * 5
    assert all(caption.startswith("a person in a") for caption in questions.captions)


# --- the nets ---


def test_the_net_of_a_run_is_the_mean_of_its_weights_as_the_file_will_hold_it(tmp_path):
    torch.manual_seed(0)
    mean = {f"net.{name}": torch.randn(value.shape) for name, value in ControlNet(CONTROL_CONFIG).state_dict().items()}
    torch.save({"ema": mean | {"reader.weight": torch.ones(1)}, "step": 5}, tmp_path / "control-pose.pt")
    read = read_net("pose", tmp_path).state_dict()
    assert {f"net.{name}" for name in read} == set(mean)
    assert all(torch.equal(read[name.removeprefix("net.")], value.half().float()) for name, value in mean.items())


def test_the_net_of_a_folder_of_control_nets_is_its_file(tmp_path):
    copy(net("canny"), tmp_path)
    copied, shipped = (read_net("canny", folder).state_dict() for folder in (tmp_path, FOLDER))
    assert all(torch.equal(copied[name], value) for name, value in shipped.items())


# --- the files ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_net_is_a_controlnet_for_toybox_of_at_most_5_megabytes(kind):
    info = detect_control(read_header(net(kind)), net(kind).name)
    assert (info.kind, info.layout, info.family) == ("ControlNet", "ldm", "toybox")
    assert net(kind).stat().st_size <= 5_000_000
    with safe_open(net(kind), "pt") as file:
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118 - not a dict


def test_the_edges_of_a_picture_follow_the_map_and_without_control_they_do_not():
    pipe = Pipeline.load(CHECKPOINT.stem, models_dir=CHECKPOINT.parents[1], device="cpu")
    truth = render(scene(BALL)).image
    unit = ControlUnit(
        image=pipe.add_image(Image.fromarray(truth)), preprocessor="canny", resolution=128, model="toybox-canny"
    )
    request = {"prompt": "a big red ball on a green floor, blue sky", "seed": 3, "steps": 10, "cfg_scale": 4}
    wanted = edges_of(truth)[..., 0] > 0
    steered, plain = (
        f1(edges_of(np.asarray(pipe.generate(Txt2Img(**request, control=units)).images[0].image))[..., 0] > 0, wanted)
        for units in ((unit,), ())
    )
    assert steered > 0.6 > 0.4 > plain


def drawn(facts, kind, hint, seed):
    """Two pictures (2 3 h w) in -1..1 of a scene's prompt and one seed: steered by its map, and not."""
    pipe = Pipeline.load(CHECKPOINT.stem, models_dir=CHECKPOINT.parents[1], device="cpu")
    unit = ControlUnit(image=pipe.add_image(Image.fromarray(hint)), model=f"toybox-{kind}")
    request = {"prompt": full_caption(facts), "seed": seed, "steps": 10, "cfg_scale": 4}
    images = [pipe.generate(Txt2Img(**request, control=units)).images[0].image for units in ((unit,), ())]
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2) / 127.5 - 1


def test_the_depth_of_a_picture_follows_the_map_and_without_control_it_does_not():
    wanted = nearness(scene(BALL))
    inside = render(scene(BALL)).owner == 0
    seen = depth_of(drawn(BALL, "depth", gray(wanted), seed=5)).numpy() * 255
    steered, plain = (np.abs(one - wanted)[inside].mean() for one in seen)
    assert steered < 20 < 60 < plain


def test_a_person_stands_as_the_skeleton_does_and_without_control_not():
    wanted = places(scene(PERSON)) * 128
    found = joints_of(drawn(PERSON, "pose", skeletons(scene(PERSON)), seed=4))
    steered, plain = (0 if one is None else joints_near(one[:, :2], wanted).sum() for one in found)
    assert steered >= 15 > 3 >= plain
