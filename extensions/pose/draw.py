"""Draws people as OpenPose does: the colours and widths that pose networks were trained on."""

import colorsys
import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from .people import Joints, Person

Pixels = NDArray[np.uint8]
# Limb i joins two joints and has colour i, darkened; joint i has colour i.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
DARKER = 0.6
LIMB_HALF_WIDTH, JOINT_RADIUS, FACE_RADIUS, FINGER_WIDTH = 4, 4, 3, 2  # pixels
FINGERS = tuple((0 if tip % 4 == 1 else tip - 1, tip) for tip in range(1, 21))
FINGER_JOINT, FACE_POINT = (0, 0, 255), (255, 255, 255)


def draw(people: list[Person], height: int, width: int) -> Pixels:
    """All people on black (height width 3), RGB. Bodies first, then hands, then faces."""
    canvas = np.zeros((height, width, 3), np.uint8)
    for person in people:
        _body(canvas, person.body)
    for person in people:
        for hand in (person.left_hand, person.right_hand):
            if hand is not None:
                _hand(canvas, hand)
        if person.face is not None:
            for _number, point in _points(person.face):
                cv2.circle(canvas, point, FACE_RADIUS, FACE_POINT, -1)
    return canvas


def _body(canvas: Pixels, joints: Joints) -> None:
    for (first, second), colour in zip(LIMBS, COLOURS, strict=False):
        if joints[first, 2] > 0 and joints[second, 2] > 0:
            _limb(canvas, joints[first, :2], joints[second, :2], colour)
    for number, point in _points(joints):
        cv2.circle(canvas, point, JOINT_RADIUS, COLOURS[number], -1)


def _limb(canvas: Pixels, first: NDArray[np.float64], second: NDArray[np.float64], colour: tuple[int, ...]) -> None:
    """A filled ellipse from joint to joint."""
    middle, along = (first + second) / 2, first - second
    length, angle = math.hypot(*along), math.degrees(math.atan2(along[1], along[0]))
    centre = int(middle[0]), int(middle[1])
    outline = cv2.ellipse2Poly(centre, (int(length / 2), LIMB_HALF_WIDTH), int(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, [int(part * DARKER) for part in colour])


def _hand(canvas: Pixels, joints: Joints) -> None:
    points = dict(_points(joints))
    for number, (first, second) in enumerate(FINGERS):
        if first in points and second in points:
            colour = [round(part * 255) for part in colorsys.hsv_to_rgb(number / len(FINGERS), 1, 1)]
            cv2.line(canvas, points[first], points[second], colour, FINGER_WIDTH)
    for point in points.values():
        cv2.circle(canvas, point, JOINT_RADIUS, FINGER_JOINT, -1)


def _points(joints: Joints) -> Iterator[tuple[int, tuple[int, int]]]:
    """(number, whole pixel) of all joints that are there."""
    for number, (x, y, certainty) in enumerate(joints):
        if certainty > 0:
            yield number, (int(x), int(y))
