"""Skeletons: found in a picture, or read from JSON, and drawn in OpenPose's colours."""

import numpy as np
from numpy.typing import NDArray

from webui.ext import Map, PreprocessContext

from .draw import draw
from .people import Person, read_json, to_json


def openpose(image: NDArray[np.uint8], *, persons: int, person: float, joint: float, ctx: PreprocessContext) -> Map:
    """The people of an RGB picture (h w 3) on black; data: their joints as pose JSON."""
    from .bodies import find_joints
    from .boxes import find_people

    boxes = find_people(image, person, ctx)[:persons]
    ctx.check_cancel()
    found = [Person.from_coco(joints, joint) for joints in find_joints(image, boxes, ctx)] if len(boxes) else []
    return _map(found, image)


def openpose_json(image: NDArray[np.uint8], *, pose: str) -> Map:
    """The people of a pose JSON on black, as large as the image (h w 3), whose content does not matter."""
    return _map(read_json(pose, image.shape[0], image.shape[1]), image)


def _map(people: list[Person], image: NDArray[np.uint8]) -> Map:
    height, width = image.shape[:2]
    return Map(draw(people, height, width), to_json(people, height, width))
