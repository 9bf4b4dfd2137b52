"""The estimators of depth and pose as networks of transformers, and what they see in pictures.

They are trained by train_estimators.py and shipped in extensions/toybox, whose code runs them here too: what the
evaluation measures is what users have.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GLPNConfig, GLPNForDepthEstimation, SegformerConfig, SegformerForSemanticSegmentation

from extensions.toybox.networks import FOLDER, find_joints, find_nearness, load_depth, load_pose
from models.toybox.world import KEYPOINTS

NAMES = ("depth", "pose")
HEAT = 32  # cells a side of a heatmap: a quarter of the picture, as SegFormer's answers are
PERSON = 0.3  # mean certainty of the joints from which on somebody is there, as in extension.toml
BATCH = 50


def new_network(name: str) -> nn.Module:
    """The estimator called "depth" or "pose" with random weights."""
    if name == "depth":
        return GLPNForDepthEstimation(depth_config())
    return SegformerForSemanticSegmentation(pose_config())


def depth_config() -> GLPNConfig:
    """Levels of 32 x 32, 16 x 16, 8 x 8 and 4 x 4 patches; the answer is a sigmoid at the size of the picture."""
    return GLPNConfig(
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=24,
        drop_path_rate=0.0,
        max_depth=1,
    )


def pose_config() -> SegformerConfig:
    """The same levels; where others have classes it has OpenPose's joints, and the answer is their heatmaps."""
    labels = dict(enumerate(KEYPOINTS))
    return SegformerConfig(
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=64,
        drop_path_rate=0.0,
        classifier_dropout_prob=0.0,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )


@dataclass(frozen=True)
class Estimators:
    """Both networks."""

    depth: Any
    pose: Any

    def depth_of(self, pictures: Tensor) -> Tensor:
        """See the function `depth_of`."""
        return torch.cat([find_nearness(self.depth, part) for part in pictures.split(BATCH)])

    def joints_of(self, pictures: Tensor) -> list[NDArray[np.float32] | None]:
        """See the function `joints_of`."""
        found = torch.cat([find_joints(self.pose, part) for part in pictures.split(BATCH)]).numpy()
        return [joints if joints[:, 2].mean() >= PERSON else None for joints in found]


def load_estimators(folder: Path = FOLDER) -> Estimators:
    """What `train_estimators` exported."""
    return Estimators(load_depth(folder / "depth"), load_pose(folder / "pose"))


@cache
def shipped() -> Estimators:
    """The estimators of the extension."""
    return load_estimators()


def depth_of(pictures: Tensor) -> Tensor:
    """Pictures (b 3 h w) in -1..1 -> nearness (b h w): 0 the sky, 1 the nearest pixel, between them inverse depth."""
    return shipped().depth_of(pictures)


def joints_of(pictures: Tensor) -> list[NDArray[np.float32] | None]:
    """Pictures (b 3 h w) in -1..1 -> OpenPose's joints of each one's person, (18 3): x, y in pixels and certainty.

    None where nobody is.
    """
    return shipped().joints_of(pictures)
