"""The maps that Toybox's control nets read, made of rendered scenes by the preprocessors that users have.

Users' maps come at other resolutions than the picture's own, so some of those seen in training do as well.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from extensions.canny.main import canny
from extensions.pose.draw import draw
from extensions.pose.people import Person as Skeleton
from models.toybox.config import PICTURE_SIZE
from models.toybox.data import Pictures
from models.toybox.render import render
from models.toybox.world import KEYPOINTS, Scene, scene_of
from webui.control.geometry import CROP, fit, shorter_side

Pixels = NDArray[np.uint8]
KINDS = ("canny", "depth", "pose")
FINE = 0.3
"""How many maps are made at a higher resolution than the picture's."""
FINER = (256, 512)
THRESHOLDS = (100, 200)
"""Of Canny: what the preprocessor has when nobody touches it."""


@dataclass(frozen=True)
class Hints:
    """Maps of one kind for the scenes of a data set. depth: (n s s) as `render_depth` writes it, where it is needed."""

    kind: str
    data: Pictures
    depth: Pixels | None = None

    def of(self, number: int, rng: Random) -> Pixels:
        """The map (s s 3) of a scene."""
        if self.kind == "canny":
            return edges(np.array(self.data.images[number]), rng)
        if self.kind == "pose":
            return skeletons(scene_of(number), rng.choice(FINER) if rng.random() < FINE else PICTURE_SIZE)
        assert self.depth is not None, "maps of depth are rendered first"
        return gray(np.array(self.depth[number]))


def edges(image: Pixels, rng: Random) -> Pixels:
    """Canny edges of a picture (s s 3), by thresholds around those that the preprocessor has."""
    low = rng.randint(THRESHOLDS[0] // 2, THRESHOLDS[0] * 3 // 2)
    side = rng.choice(FINER) if rng.random() < FINE else len(image)
    larger = image if side == len(image) else shorter_side(image, side)
    return fit(canny(larger, low=low, high=2 * low), PICTURE_SIZE, PICTURE_SIZE, CROP, "edges")


def skeletons(scene: Scene, side: int = PICTURE_SIZE) -> Pixels:
    """The people of a scene as OpenPose draws them on a canvas of `side` pixels, at the picture's size (s s 3)."""
    people = [
        Skeleton(np.c_[places(scene, index) * side, np.ones(len(KEYPOINTS))]) for index in range(len(scene.people))
    ]
    return fit(draw(people, side, side), PICTURE_SIZE, PICTURE_SIZE, CROP, "pose")


def gray(values: Pixels) -> Pixels:
    """(s s) -> (s s 3)."""
    return np.repeat(values[..., None], 3, axis=-1)


def places(scene: Scene, person: int = 0) -> NDArray[np.float64]:
    """Where a person's joints (18 2) stand, in 0..1 of the picture."""
    return scene.camera.project(scene.people[person].joints)


def nearness(scene: Scene) -> Pixels:
    """Inverse depth (s s), its nearest point 255 and the sky 0: the convention of depth preprocessors."""
    depth = render(scene, PICTURE_SIZE).inverse_depth
    return np.rint((depth - depth.min()) / (depth.max() - depth.min()) * 255).astype(np.uint8)


def open_depth(path: Path, count: int) -> Pixels:
    """Depth (n s s) of scenes 0..count, rendered first where the file does not hold them yet."""
    if not path.exists():
        partial = path.with_suffix(".partial.npy")
        depth = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, PICTURE_SIZE, PICTURE_SIZE))

        def draw_one(number: int) -> None:
            depth[number] = nearness(scene_of(number))

        with ThreadPoolExecutor() as pool:
            list(pool.map(draw_one, range(count)))
        os.replace(partial, path)
    found: Pixels = np.load(path, mmap_mode="r")
    if len(found) < count:
        raise ValueError(f"{path} holds {len(found)} scenes, not {count}: remove it")
    return found
