"""Pose: OpenPose's colours, pose JSON, and people found by tiny networks, with transformers' own code as the judge."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RTDetrImageProcessorPil, VitPoseImageProcessorPil

from tests.extensions.support import cloud, context, module, run
from tests.extensions.tiny import write_rtdetr, write_vitpose

# limb, colour: the table of OpenPose's drawing
TABLE = """
1-2 255,0,0|1-5 255,85,0|2-3 255,170,0|3-4 255,255,0|5-6 170,255,0|6-7 85,255,0|1-8 0,255,0|8-9 0,255,85|9-10 0,255,170
1-11 0,255,255|11-12 0,170,255|12-13 0,85,255|1-0 0,0,255|0-14 85,0,255|14-16 170,0,255|0-15 255,0,255|15-17 255,0,170
"""
ROWS = [row.split() for row in TABLE.replace("\n", "|").split("|") if row]
LIMBS = [tuple(int(joint) for joint in limb.split("-")) for limb, _colour in ROWS]
COLOURS = [tuple(int(part) for part in colour.split(",")) for _limb, colour in ROWS] + [(255, 0, 85)]
COCO = [0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]  # of OpenPose's 0, 2, 3, 4, ... 17


def body(points: dict[int, tuple[float, float]]) -> list[float]:
    return [value for joint in range(18) for value in (*points.get(joint, (0, 0)), float(joint in points))]


def pose(*people: dict[int, tuple[float, float]], size: tuple[int, int] = (200, 200), **parts: list[float]) -> str:
    """Pose JSON on a canvas of (height, width)."""
    rows = [{"pose_keypoints_2d": body(person), **parts} for person in people]
    return json.dumps({"people": rows, "canvas_height": size[0], "canvas_width": size[1]})


def drawn(text: str, height: int = 200, width: int = 200) -> np.ndarray:
    return run("pose", np.zeros((height, width, 3), np.uint8), as_="openpose_json", pose=text).image


def spots(first: tuple[float, float], second: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """(h w): pixels within the ellipse between two joints, 4 pixels to each side, by its equation."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    x, y = columns - (first[0] + second[0]) / 2, rows - (first[1] + second[1]) / 2
    angle = math.atan2(first[1] - second[1], first[0] - second[0])
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (along / (math.dist(first, second) / 2)) ** 2 + (across / 4) ** 2 <= 1


@pytest.mark.parametrize("number", range(17))
def test_each_limb_is_an_ellipse_in_its_own_colour_darkened_with_its_joints_on_top(number: int):
    first, second = (40.0, 60.0), (150.0, 120.0)
    image = drawn(pose({LIMBS[number][0]: first, LIMBS[number][1]: second}))
    dark = tuple(int(part * 0.6) for part in COLOURS[number])
    rows, columns = np.mgrid[0:200, 0:200]
    found = (image == dark).all(axis=2)
    joints = np.zeros((200, 200), bool)
    for joint, (x, y) in zip(LIMBS[number], (first, second), strict=True):
        near = np.hypot(columns - x, rows - y)
        assert (image[near <= 3.9] == COLOURS[joint]).all()
        joints |= near <= 5
    second_writing = spots(first, second, (200, 200)) & ~joints
    found &= ~joints
    assert (found & second_writing).sum() / (found | second_writing).sum() > 0.85
    assert {tuple(colour) for colour in image.reshape(-1, 3).tolist()} == {
        (0, 0, 0), dark, *(COLOURS[joint] for joint in LIMBS[number])
    }  # fmt: skip


@pytest.mark.parametrize("joint", range(18))
def test_a_joint_alone_is_a_disc_of_radius_4_in_its_full_colour(joint: int):
    image = drawn(pose({joint: (100, 90)}))
    rows, columns = np.mgrid[0:200, 0:200]
    painted = image.any(axis=2)
    assert (image[painted] == COLOURS[joint]).all()
    assert np.array_equal(painted, np.hypot(columns - 100, rows - 90) <= 4)


def test_a_limb_needs_both_its_joints():
    alone = drawn(pose({2: (30, 30), 4: (90, 90)}))
    assert {tuple(colour) for colour in alone.reshape(-1, 3).tolist()} == {(0, 0, 0), COLOURS[2], COLOURS[4]}


def test_several_people_are_drawn_the_later_over_the_earlier():
    one, two = {2: (30, 30), 3: (90, 90)}, {5: (30, 90), 6: (90, 30)}
    both = drawn(pose(one, two))
    first, second = drawn(pose(one)), drawn(pose(two))
    assert np.array_equal(both, np.where(second.any(axis=2, keepdims=True), second, first))


def test_hands_are_lines_of_all_hues_with_blue_joints_and_faces_are_white_dots():
    hand = [value for point in range(21) for value in (20 + 8 * point, 50 + 5 * (point % 4), 1.0)]
    face = [value for point in range(70) for value in (10 + 2.5 * point, 150.0, 1.0)]
    image = drawn(pose({}, hand_left_keypoints_2d=hand, face_keypoints_2d=face))
    assert image[50, 20].tolist() == [0, 0, 255]
    assert image[150, 100].tolist() == [255, 255, 255]
    line = drawn(pose({}, hand_right_keypoints_2d=[20, 50, 1, 180, 50, 1, *([0, 0, 0] * 19)]))
    assert line[50, 100].tolist() == [255, 0, 0]
    rest = drawn(pose({}, hand_right_keypoints_2d=[20, 50, 1, *([0, 0, 0] * 4), 180, 50, 1, *([0, 0, 0] * 15)]))
    assert rest[50, 100].tolist() == [204, 255, 0]  # edge 4 of 20: hue 72 degrees


@given(st.lists(st.tuples(st.floats(1.5, 199), st.floats(1.5, 149), st.booleans()), min_size=18, max_size=18))
@settings(max_examples=20, deadline=None)
def test_pose_json_comes_back_as_it_was(joints: list[tuple[float, float, bool]]):
    with module("pose", "people") as people:
        row = [round(value, 3) for x, y, there in joints for value in ((x, y, 1.0) if there else (0, 0, 0))]
        text = json.dumps({"people": [{"pose_keypoints_2d": row}], "canvas_height": 150, "canvas_width": 200})
        found = people.to_json(people.read_json(text, 150, 200), 150, 200)
    assert np.allclose(found["people"][0]["pose_keypoints_2d"], row, atol=1e-3)
    assert (found["canvas_height"], found["canvas_width"]) == (150, 200)


def test_a_drawn_pose_gives_its_json_again():
    text = pose({1: (50.25, 60), 2: (70, 80.5)}, {0: (9, 8)})
    found = run("pose", np.zeros((200, 200, 3), np.uint8), as_="openpose_json", pose=text)
    assert np.array_equal(drawn(json.dumps(found.data)), found.image)
    assert [person["pose_keypoints_2d"] for person in found.data["people"]] == [
        person["pose_keypoints_2d"] for person in json.loads(text)["people"]
    ]


def test_shares_of_the_canvas_are_read_as_well_as_pixels():
    shares = {joint: (x / 200, y / 200) for joint, (x, y) in {1: (50, 60), 2: (70, 80)}.items()}
    assert np.array_equal(drawn(pose(shares)), drawn(pose({1: (50, 60), 2: (70, 80)})))


def test_a_pose_of_another_size_is_scaled_as_a_whole_and_centred():
    found = run(
        "pose", np.zeros((100, 300, 3), np.uint8), as_="openpose_json", pose=pose({0: (100, 50), 1: (0.0, 200)})
    )
    numbers = found.data["people"][0]["pose_keypoints_2d"]
    assert numbers[:6] == [150, 25, 1, 100, 100, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", "no pose yet"),
        ("{", "is no JSON"),
        ("[]", 'no list "people"'),
        ('{"people": 3}', 'no list "people"'),
        ('{"people": ["x"]}', "is no object"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "no flat list"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 1]}]}', "1 points in the place of 18"),
        ('{"people": [{"pose_keypoints_2d": ["a", 2, 1]}]}', "no flat list"),
        ('{"people": [], "canvas_width": 0}', "canvas"),
        ('{"people": [], "canvas_height": "x"}', "canvas"),
    ],
)
def test_what_is_no_pose_json_is_refused_with_the_reason(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        drawn(text)


def test_nobody_is_a_black_map():
    assert not drawn('{"people": []}').any()


def test_joints_of_coco_become_openposes_and_the_neck_lies_between_the_shoulders():
    coco = np.array([(10 * joint, 5 * joint + 1, 0.9) for joint in range(17)], np.float32)
    with module("pose", "people") as people:
        found = people.Person.from_coco(coco, 0.3).body
        missing = people.Person.from_coco(coco * [1, 1, 0] + [0, 0, 0.29], 0.3).body
        one_shoulder = people.Person.from_coco(np.where(np.arange(17)[:, None] == 5, [1, 1, 0.1], coco), 0.3).body
    assert found[[0, *range(2, 18)], 0].tolist() == [10 * joint for joint in COCO]
    assert found[1].tolist() == pytest.approx([55, 28.5, 0.9])
    assert not missing.any()
    assert not one_shoulder[[1, 5]].any()


PICTURE = cloud(90, 120)


def test_people_are_those_that_transformers_finds_with_the_same_detector(tmp_path: Path):
    network = write_rtdetr(tmp_path)
    processor = RTDetrImageProcessorPil.from_pretrained(tmp_path)
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    least = float(output.logits[0, :, 1].sigmoid().sort().values[12])
    everything = processor.post_process_object_detection(output, threshold=0, target_sizes=[PICTURE.shape[:2]])[0]
    # their list is cut to as many pairs of box and class as there are boxes; ask them for the persons alone
    only = SimpleNamespace(logits=output.logits[:, :, 1:2], pred_boxes=output.pred_boxes)
    persons = processor.post_process_object_detection(only, threshold=least, target_sizes=[PICTURE.shape[:2]])[0]
    assert len(everything["boxes"]) == 20
    with module("pose", "boxes") as boxes:
        found = boxes.find_people(PICTURE, least, context({"rtdetr_r50vd_coco_o365": tmp_path}))
    assert len(found) == 7
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    assert np.allclose(corners, persons["boxes"].numpy(), atol=1e-3)


@pytest.mark.parametrize(("experts", "simple"), [(1, True), (1, False), (3, False)])
def test_joints_are_those_that_transformers_finds_with_the_same_network(experts: int, simple: bool, tmp_path: Path):
    network = write_vitpose(tmp_path, experts, simple)
    boxes = np.array([[20, 10, 40, 70], [70, 20, 30, 40]], np.float32)
    processor = VitPoseImageProcessorPil.from_pretrained(tmp_path)
    pixels = processor(PICTURE, boxes=[boxes.copy()], return_tensors="pt")["pixel_values"]
    extra = {"dataset_index": torch.zeros(2, dtype=torch.long)} if experts > 1 else {}
    with torch.no_grad():
        output = network(pixels, **extra)
    second = processor.post_process_pose_estimation(output, boxes=[boxes.copy()])[0]
    with module("pose", "bodies") as bodies:
        found = bodies.find_joints(PICTURE, boxes, context({"vitpose_base_simple": tmp_path}))
    certain = np.stack([person["scores"].numpy() for person in second])
    points = np.stack([person["keypoints"].numpy() for person in second])
    there = certain > 0.05  # theirs puts a joint without a hill at -1, -1; ours leaves it out by its certainty
    assert there.sum() > 10
    assert np.allclose(found[:, :, 2], certain, atol=0.02)  # their crops are not rounded to bytes
    close = np.abs(found[:, :, :2] - points).max(axis=2) < 0.2
    assert close[there].mean() >= 0.9  # the rest are flat tops, where their step has no bound


def test_a_hills_top_is_found_between_the_pixels_and_put_back_into_the_picture():
    rows, columns = np.mgrid[0:64, 0:48]
    tops = [(20.3, 30.7), (5.0, 60.2), (40.45, 2.5)]
    hills = np.stack([0.9 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in tops]).astype(np.float32)
    with module("pose", "bodies") as bodies:
        frame = bodies.frame(np.array([100, 50, 60, 200], np.float32), 0.75)
        found = bodies.joints(hills, frame)
    assert frame.tolist() == [130, 150, 187.5, 250]
    second = [(130 + (x / 47 - 0.5) * 187.5, 150 + (y / 63 - 0.5) * 250) for x, y in tops]
    assert np.abs(found[:, :2] - second).max() < 0.3
    assert np.allclose(found[:, 2], hills.reshape(3, -1).max(axis=1))


def test_joints_are_refined_as_transformers_refines_them():
    from transformers.models.vitpose.image_processing_pil_vitpose import (
        get_keypoint_predictions,
        post_dark_unbiased_data_processing,
    )

    maps = np.random.default_rng(0).uniform(0.05, 1, (1, 17, 32, 24)).astype(np.float32)
    coords, _scores = get_keypoint_predictions(maps)
    unbounded = post_dark_unbiased_data_processing(coords.copy(), maps, kernel=11)
    second = (coords + np.clip(unbounded - coords, -1, 1))[0]
    with module("pose", "bodies") as bodies:
        found = bodies.joints(maps[0], np.array([11.5, 15.5, 23, 31], np.float32))  # one pixel of the map is one of it
    assert np.allclose(found[:, :2], second, rtol=1e-3, atol=0.02)


def test_a_crop_shows_the_box_with_a_quarter_more_and_black_outside():
    with module("pose", "bodies") as bodies:
        frame = bodies.frame(np.array([0, 0, 60, 80], np.float32), 0.75)
        shown = bodies.crop(PICTURE, frame, 80, 60)
        same = bodies.crop(PICTURE, np.array([29.5, 39.5, 59, 79], np.float32), 80, 60)
    assert frame.tolist() == [30, 40, 75, 100]
    assert not shown[:7].any()
    assert not shown[:, :5].any()
    assert np.array_equal(same, PICTURE[:80, :60])


def test_a_picture_goes_in_and_skeletons_and_json_come_out(tmp_path: Path):
    write_rtdetr(tmp_path / "detector")
    write_vitpose(tmp_path / "pose")
    ctx = context({"rtdetr_r50vd_coco_o365": tmp_path / "detector", "vitpose_base_simple": tmp_path / "pose"})
    found = run("pose", PICTURE, ctx, as_="openpose", persons=3, person=0.05, joint=0.05)
    assert len(found.data["people"]) == 3
    assert found.image.any()
    again = run("pose", PICTURE, as_="openpose_json", pose=json.dumps(found.data))
    assert (again.image != found.image).any(axis=2).mean() < 0.02  # coordinates are rounded to thousandths


def test_no_person_means_a_black_map_and_no_look_for_joints(tmp_path: Path):
    write_rtdetr(tmp_path)
    ctx = context({"rtdetr_r50vd_coco_o365": tmp_path})
    network = ctx.load(str(tmp_path), lambda: write_rtdetr(tmp_path))
    network.config.id2label = {0: "dog", 1: "cat"}
    for head in network.model.decoder.class_embed:
        head.bias.data[:] = -50
    found = run("pose", PICTURE, ctx, as_="openpose")
    assert found.data == {"people": [], "canvas_height": 90, "canvas_width": 120}
    assert not found.image.any()


def test_a_network_with_too_few_joints_is_refused(tmp_path: Path):
    write_vitpose(tmp_path, joints=5)
    with module("pose", "bodies") as bodies, pytest.raises(ValueError, match="5 joints in the place of 17"):
        bodies.find_joints(PICTURE, np.array([[0, 0, 9, 9]], np.float32), context({"vitpose_base_simple": tmp_path}))
