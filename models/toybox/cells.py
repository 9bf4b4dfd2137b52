"""What stands in each cell of a latent: labels that the middle of the U-Net learns to tell beside its own task.

Representations that are right are learned late by the diffusion loss alone; a second loss on hidden states brings them
early (Yu et al. 2024, arXiv:2410.06940, which takes the states of another network; here the renderer knows the truth).
The layer that reads them is left out of the file that ships.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.toybox.world import COLORS, POSES, SHAPES, PersonWords, Scene, Subject, scene_of

GROUNDS = ("floor", "sky", "subject")
KINDS = (*SHAPES, *POSES)
QUESTIONS = {"ground": len(GROUNDS), "kind": len(KINDS), **dict.fromkeys(("color", "shirt", "pants"), len(COLORS))}
UNASKED = -100
"""What `cross_entropy` leaves out: the shirt of a ball."""
CELL = 8


class CellReader(nn.Module):
    """Answers every question for each cell from a state of half the latent's side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Conv2d(channels, 4 * sum(QUESTIONS.values()), 1)

    def forward(self, state: Tensor) -> Tensor:
        """(b c h w) -> logits (b answers 2h 2w), the questions one after another."""
        return F.pixel_shuffle(self.read(state), 2)


def cell_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum over the questions of the mean cross entropy. logits: (b answers s s), labels: (b questions s s)."""
    parts = logits.float().split(list(QUESTIONS.values()), dim=1)
    losses = [
        F.cross_entropy(part, labels[:, index], ignore_index=UNASKED, reduction="sum")
        / (labels[:, index] != UNASKED).sum().clamp(min=1)
        for index, part in enumerate(parts)
    ]
    return torch.stack(losses).sum()


def labels_of(seeds: Sequence[int], owners: NDArray[np.int8]) -> Tensor:
    """Labels (b questions s s) of scenes. owners: (n 8s 8s) of the data set, see Rendering.owner."""
    return torch.from_numpy(np.stack([_labels(scene_of(seed), owners[seed]) for seed in seeds]))


def _labels(scene: Scene, owner: NDArray[np.int8]) -> NDArray[np.int64]:
    """(questions s s): the owner of a cell is that of the pixel in its middle."""
    # rows -2 and -1 of the table, which Python counts from the end, are sky and floor
    table = np.array([*(_answers(subject) for subject in scene.subjects), _ground("sky"), _ground("floor")])
    return np.moveaxis(table[owner[CELL // 2 :: CELL, CELL // 2 :: CELL]], -1, 0)


def _answers(subject: Subject) -> tuple[int, ...]:
    words, colors, ground = subject.words, tuple(COLORS), GROUNDS.index("subject")
    if isinstance(words, PersonWords):
        return ground, KINDS.index(words.pose), UNASKED, colors.index(words.shirt), colors.index(words.pants)
    return ground, KINDS.index(words.shape), colors.index(words.color), UNASKED, UNASKED


def _ground(name: str) -> tuple[int, ...]:
    return GROUNDS.index(name), *(UNASKED,) * (len(QUESTIONS) - 1)
