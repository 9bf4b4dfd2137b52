"""People as joints, and the JSON that OpenPose and pose editors share.

A joint is (x, y, certainty) in pixels; certainty 0 = not there. Bodies have OpenPose's 18: 0 nose, 1 neck, 2-4 right
arm, 5-7 left arm, 8-10 right leg, 11-13 left leg, 14 and 15 right and left eye, 16 and 17 right and left ear.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]
BODY, HAND, FACE = 18, 21, 70
NECK, LEFT_SHOULDER, RIGHT_SHOULDER = 1, 5, 6  # the neck in OpenPose's order, the shoulders in COCO's
# Where OpenPose's joints stand among the 17 of COCO; the neck is worked out.
OF_COCO = {
    0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15, 14: 2, 15: 1, 16: 4,
    17: 3,
}  # fmt: skip
PARTS = {
    "body": ("pose_keypoints_2d", BODY),
    "face": ("face_keypoints_2d", FACE),
    "left_hand": ("hand_left_keypoints_2d", HAND),
    "right_hand": ("hand_right_keypoints_2d", HAND),
}


@dataclass(frozen=True)
class Person:
    """body: (18 3). face: (n 3); hands: (21 3); None where nobody looked for them."""

    body: Joints
    face: Joints | None = None
    left_hand: Joints | None = None
    right_hand: Joints | None = None

    @staticmethod
    def from_coco(coco: NDArray[np.float32], least: float) -> "Person":
        """coco: (17 3). Joints below `least` are left out; the neck is the middle of both shoulders."""
        body = np.zeros((BODY, 3))
        for ours, theirs in OF_COCO.items():
            body[ours] = coco[theirs]
        shoulders = coco[[LEFT_SHOULDER, RIGHT_SHOULDER]]
        body[NECK] = (*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min())
        body[body[:, 2] < least] = 0
        return Person(body)


def to_json(people: list[Person], height: int, width: int) -> dict[str, Any]:
    """Pixels of a canvas of this size; parts that nobody looked for are null."""
    rows = [{key: _flat(getattr(person, part)) for part, (key, _count) in PARTS.items()} for person in people]
    return {"people": rows, "canvas_height": height, "canvas_width": width}


def read_json(text: str, height: int, width: int) -> list[Person]:
    """The people of a pose JSON, scaled as a whole and centred on a canvas of this size.

    Coordinates may be pixels of the JSON's canvas or shares of it.
    Raises:
        ValueError: it is no pose JSON; says what is wrong.
    """
    if not text.strip():
        raise ValueError("there is no pose yet: paste its JSON, or draw one by Edit joints")
    try:
        pose = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the pose is no JSON: {error}") from None
    if not isinstance(pose, dict) or not isinstance(pose.get("people"), list):
        raise ValueError('the pose has no list "people"')
    size = _number(pose.get("canvas_width", width)), _number(pose.get("canvas_height", height))
    people = [_person(entry) for entry in pose["people"]]
    shares = all(np.abs(joints[:, :2]).max() <= 1 for joints in _all(people)) and bool(people)
    scale = min(width / size[0], height / size[1])
    corner = (width - size[0] * scale) / 2, (height - size[1] * scale) / 2
    factor = (size[0] * scale, size[1] * scale) if shares else (scale, scale)
    return [_placed(person, factor, corner) for person in people]


def _flat(joints: Joints | None) -> list[float] | None:
    return None if joints is None else [round(float(value), 3) for value in joints.ravel()]


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1 <= value <= 100_000:
        raise ValueError(f"the canvas of the pose cannot be {value!r} pixels")
    return float(value)


def _person(entry: Any) -> Person:
    if not isinstance(entry, dict):
        raise ValueError('an entry of "people" is no object')
    found = {part: _joints(entry.get(key), key, count) for part, (key, count) in PARTS.items()}
    return Person(**{**found, "body": np.zeros((BODY, 3)) if found["body"] is None else found["body"]})


def _joints(values: Any, key: str, count: int) -> Joints | None:
    """(n 3) of a flat list; None where the list is missing or empty. Faces may have 68 or 70 points."""
    if not values:
        return None
    flat = isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)
    numbers = np.array(values if flat else [], float)
    if numbers.size == 0 or numbers.size % 3 or not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e6:
        raise ValueError(f"{key} is no flat list of x, y, certainty")
    joints = numbers.reshape(-1, 3)
    if len(joints) != count and not (count == FACE and len(joints) < FACE):
        raise ValueError(f"{key} has {len(joints)} points in the place of {count}")
    return joints


def _all(people: list[Person]) -> list[Joints]:
    return [joints for person in people for part in PARTS if (joints := getattr(person, part)) is not None]


def _placed(person: Person, factor: tuple[float, float], corner: tuple[float, float]) -> Person:
    def moved(joints: Joints | None) -> Joints | None:
        if joints is None:
            return None
        there = joints[:, 2:] > 0
        return np.where(there, joints * (*factor, 1.0) + (*corner, 0.0), 0.0)

    return Person(**{part: moved(getattr(person, part)) for part in PARTS})
