"""Measures the estimators on scenes that no training saw: `python -m models.toybox.measure_estimators`."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.toybox.data import HELD_OUT
from models.toybox.estimator_data import as_tensor, joints_in, nearness
from models.toybox.estimators import Estimators, load_estimators
from models.toybox.export import CHECKPOINT
from models.toybox.lessons import autoencoded
from models.toybox.render import render
from models.toybox.sample import load_model
from models.toybox.world import scene_of

Joints = NDArray[np.float32]
NEAR_ENOUGH = 0.1  # of the body's height


@dataclass(frozen=True)
class Scenes:
    """n held-out scenes of size s. pictures: (n 3 s s) in -1..1; near: (n s s); mask: (n s s), where subjects are.

    joints: (n 18 2) in pixels, NaN where nobody is.
    """

    pictures: Tensor
    near: Tensor
    mask: Tensor
    joints: Joints


def held_out(count: int, first: int = HELD_OUT) -> Scenes:
    """Scenes that are never in a training set."""
    drawn = [render(scene_of(seed)) for seed in range(first, first + count)]
    return Scenes(
        as_tensor(np.stack([scene.image for scene in drawn])),
        nearness(torch.from_numpy(np.stack([scene.inverse_depth for scene in drawn]))),
        torch.from_numpy(np.stack([scene.owner >= 0 for scene in drawn])),
        np.stack([joints_in(scene) for scene in drawn]),
    )


def correlation_inside(found: Tensor, true: Tensor, mask: Tensor, mean: Tensor) -> float:
    """Of two nearnesses (n h w) less the world's mean (h w), over all pixels of the mask (n h w)."""
    return float(torch.corrcoef(torch.stack([(found - mean)[mask], (true - mean)[mask]]))[0, 1])


def joints_right(found: Joints | None, true: Joints) -> NDArray[np.bool_]:
    """Which of the true joints (18 2), in pixels, are found within a tenth of the body's height; (18 3) were found."""
    if found is None:
        return np.zeros(len(true), bool)
    height = float(np.ptp(true[:, 1]))
    near: NDArray[np.bool_] = np.hypot(*(found[:, :2] - true).T) <= NEAR_ENOUGH * height
    return near


def stretched(near: Tensor) -> Tensor:
    """(n h w): each one from 0 to 1, as the preprocessor shows it."""
    low, high = near.amin((1, 2), keepdim=True), near.amax((1, 2), keepdim=True)
    return (near - low) / (high - low).clamp(min=1e-5)


def depth_figures(depth_of: Callable[[Tensor], Tensor], pictures: Tensor, scenes: Scenes) -> dict[str, str]:
    """Of the pictures (n 3 h w) of these scenes, however they were made."""
    found = stretched(depth_of(pictures))
    inside = correlation_inside(found, scenes.near, scenes.mask, scenes.near.mean(0))
    error = (found - scenes.near).abs()
    return {
        "depth: correlation inside the subjects, less the mean map": f"{inside:.3f}",
        "depth: mean error, of 0 to 1": f"{float(error.mean()):.4f}",
        "depth: mean error inside the subjects": f"{float(error[scenes.mask].mean()):.4f}",
    }


def pose_figures(found: Sequence[Joints | None], true: Joints) -> dict[str, str]:
    """found: (18 3) or None for each of n pictures; true: (n 18 2)."""
    someone = ~np.isnan(true[:, 0, 0])
    pairs = [(f, t) for f, t, there in zip(found, true, someone, strict=True) if there]
    right = np.concatenate([joints_right(f, t) for f, t in pairs])
    off = [np.hypot(*(f[:, :2] - t).T) for f, t in pairs if f is not None]
    seen = [f is not None for f, _ in pairs]
    imagined = [f is not None for f, there in zip(found, someone, strict=True) if not there]
    return {
        "pose: joints within 10 % of the body's height": f"{100 * right.mean():.1f} %",
        "pose: mean distance from the true joint, pixels": f"{np.mean(np.concatenate(off)):.2f}" if off else "-",
        "pose: persons found": f"{100 * np.mean(seen):.1f} %",
        "pose: scenes with nobody where a person is imagined": f"{100 * np.mean(imagined):.1f} %",
    }


def figures(estimators: Estimators, pictures: Tensor, scenes: Scenes) -> dict[str, str]:
    """Both."""
    depth = depth_figures(estimators.depth_of, pictures, scenes)
    return depth | pose_figures(estimators.joints_of(pictures), scenes.joints)


def main() -> None:
    """Prints the table of the model card, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="its autoencoder gives pictures back")
    parser.add_argument("--estimators", type=Path, help="where train_estimators wrote them; else the extension's")
    options = parser.parse_args()
    estimators = load_estimators(options.estimators) if options.estimators else load_estimators()
    scenes = held_out(options.count)
    plain = figures(estimators, scenes.pictures, scenes)
    worn = figures(estimators, autoencoded(load_model(options.checkpoint).loaded.vae, scenes.pictures), scenes)
    print(f"| {options.count} held-out scenes | rendered | through the autoencoder |", "|---|---|---|", sep="\n")
    print("\n".join(f"| {name} | {plain[name]} | {worn[name]} |" for name in plain))


if __name__ == "__main__":
    main()
