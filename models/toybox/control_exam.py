"""What the control nets of Toybox are asked: held-out scenes, their prompts, their pictures and the maps of these."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extensions.canny.main import canny
from models.toybox.config import PICTURE_SIZE
from models.toybox.data import HELD_OUT
from models.toybox.evaluate import prompts, scene_like
from models.toybox.hints import THRESHOLDS, gray, nearness, skeletons
from models.toybox.render import Rendering, render
from models.toybox.world import Facts, PersonWords, Scene, full_caption

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Exam:
    """n scenes, their prompts and renderings."""

    facts: list[Facts]
    scenes: list[Scene]
    renderings: list[Rendering]

    @property
    def captions(self) -> list[str]:
        """The prompts."""
        return [full_caption(facts) for facts in self.facts]

    @property
    def pictures(self) -> Tensor:
        """(n 3 h w) in -1..1."""
        images = np.stack([rendering.image for rendering in self.renderings])
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1

    @property
    def alone(self) -> list[int]:
        """The scenes with one subject: Toybox seldom gives each of two its own colour, with control or without."""
        return [index for index, facts in enumerate(self.facts) if len(facts.subjects) == 1]


def exam(kind: str, count: int) -> Exam:
    """Held-out scenes: 40 % of one object, 30 % of a person, 30 % of two objects; for poses people alone."""
    told = prompts(count * (4 if kind == "pose" else 1), HELD_OUT + 2)
    if kind == "pose":
        told = [facts for facts in told if isinstance(facts.subjects[0], PersonWords)][:count]
    rng = random.Random(HELD_OUT + 2)
    scenes = [scene_like(facts, rng) for facts in told]
    return Exam(told, scenes, [render(scene, PICTURE_SIZE) for scene in scenes])


def hints_of(kind: str, questions: Exam) -> Pixels:
    """The maps (n s s 3), as the preprocessors with their own settings make them of perfect pictures."""
    if kind == "canny":
        return np.stack([edges_of(rendering.image) for rendering in questions.renderings])
    if kind == "depth":
        return np.stack([gray(nearness(scene)) for scene in questions.scenes])
    return np.stack([skeletons(scene) for scene in questions.scenes])


def edges_of(image: Pixels) -> Pixels:
    """Canny edges (s s 3) of a picture by the preprocessor's own thresholds."""
    low, high = THRESHOLDS
    return canny(image, low=low, high=high)
