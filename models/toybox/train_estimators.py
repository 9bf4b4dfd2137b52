"""Trains the estimators of depth and pose on rendered scenes: `python -m models.toybox.train_estimators depth`.

They are meant for generated pictures, so half of a batch passed through the autoencoder, and all of it is more or less
softened and noisy. A third shows only a part of its scene, stretched: users' pictures are not all square.
"""

import argparse
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.estimator_data import Truths, as_tensor, nearness, open_truths
from models.toybox.estimators import FOLDER, HEAT, NAMES, new_network
from models.toybox.export import CHECKPOINT
from models.toybox.lessons import worn
from models.toybox.sample import load_model
from models.toybox.training import (
    PlainAttention,
    channels_last,
    copy_of,
    counted,
    ema_update,
    learning_rate,
    load,
    log,
    save,
)
from models.toybox.world import KEYPOINTS

BATCH = 16
PEAK = 2e-3
EVERY = 100  # steps from checkpoint to checkpoint
# Of the pixels of subjects, and so far around them, in the loss of depths: they are few, the floor is easy. Where the
# surroundings count for little, subjects swell.
SUBJECT_WEIGHT, AROUND_WEIGHT, AROUND = 12.0, 6.0, 4
PEOPLE = 0.5  # how many pictures surely show a person when poses are learnt
SIGMA = 1.25  # width of a joint's hill, in cells
PARTS = 0.33  # how many pictures show a part of their scene
LEAST_PART = 0.7  # of the scene's width, or height
# The joints as they are called in a mirror.
MIRRORED = [KEYPOINTS.index({"r_": "l_", "l_": "r_"}.get(name[:2], name[:2]) + name[2:]) for name in KEYPOINTS]


@dataclass(frozen=True)
class Lesson:
    """pictures: (b 3 s s) in -1..1; near: (b s s), see `nearness`; weights: (b s s), see `weights_of`.

    joints: (b 18 2) in 0..1, NaN where nobody is.
    """

    pictures: Tensor
    near: Tensor
    weights: Tensor
    joints: Tensor


def lesson(data: Truths, name: str, step: int) -> Lesson:
    """A batch for "depth" or "pose"; all of it follows from the step's number."""
    rng, generator = np.random.default_rng(step), torch.Generator().manual_seed(step)
    half, people = BATCH // 2, PEOPLE if name == "pose" else 0.0
    coded, plain = (chosen(data, limit, half, people, rng) for limit in (len(data.coded), len(data)))
    numbers = np.concatenate([coded, plain])
    images = np.concatenate([data.coded[coded], data.pictures.images[plain]])
    whole = Lesson(
        as_tensor(images),
        torch.from_numpy(data.depths[numbers].astype(np.float32)),
        weights_of(torch.from_numpy(data.pictures.owners[numbers])),
        torch.from_numpy(data.joints[numbers]) / images.shape[1],
    )
    seen = viewed(whole, views(BATCH, generator))
    return Lesson(worn(seen.pictures, generator), nearness(seen.near), seen.weights, seen.joints)


def weights_of(owners: Tensor) -> Tensor:
    """How much pixels count, (b s s) from the owners of `Rendering`: more on subjects and around them."""
    subject = (owners >= 0).float()
    near = F.max_pool2d(subject[:, None], 2 * AROUND + 1, 1, AROUND)[:, 0]
    return 1 + (AROUND_WEIGHT - 1) * near + (SUBJECT_WEIGHT - AROUND_WEIGHT) * subject


def chosen(data: Truths, limit: int, count: int, people: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers (count) of scenes below `limit`; of so many of them, 0..1, it is certain that there is a person."""
    someone = np.flatnonzero(~np.isnan(data.joints[:limit, 0, 0]))
    certain = round(people * count)
    return np.concatenate([rng.choice(someone, certain), rng.integers(0, limit, count - certain)])


def views(count: int, generator: torch.Generator) -> Tensor:
    """What is seen of each scene (b 2 2): left and top in 0..1, then width and height; a width below 0 is a mirror."""
    size = torch.ones(count, 2)
    part = torch.rand(count, generator=generator) < PARTS
    size[part] = LEAST_PART + (1 - LEAST_PART) * torch.rand(int(part.sum()), 2, generator=generator)
    corner = (1 - size) * torch.rand(count, 2, generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    corner[mirrored, 0] += size[mirrored, 0]
    size[mirrored, 0] *= -1
    return torch.stack([corner, size], 1)


def viewed(whole: Lesson, views: Tensor) -> Lesson:
    """The parts of pictures, depths, weights and joints that `views` (b 2 2) names, at the size of the whole."""
    corner, size = views.unbind(1)
    theta = torch.cat([torch.diag_embed(size), (2 * corner + size - 1)[..., None]], -1)  # (b 2 3)
    grid = F.affine_grid(theta, list(whole.pictures.shape), align_corners=False)
    maps = torch.cat([whole.pictures, whole.near[:, None], whole.weights[:, None]], 1)
    maps = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    joints = (whole.joints - corner[:, None]) / size[:, None]
    mirrored = size[:, 0] < 0
    joints[mirrored] = joints[mirrored][:, MIRRORED]
    return Lesson(maps[:, :3], maps[:, 3], maps[:, 4], joints)


def heat_of(joints: Tensor) -> Tensor:
    """A hill of height 1 at each joint: (b j 2) in 0..1 -> (b j 32 32). None where it is NaN or outside."""
    axis = (torch.arange(HEAT) + 0.5) / HEAT
    x, y = joints.unbind(-1)
    inside = ((joints >= 0) & (joints < 1)).all(-1)
    across, down = (torch.exp(-(((axis - p[..., None]) * HEAT / SIGMA) ** 2) / 2) for p in (x, y))  # (b j 32)
    hills = down[..., :, None] * across[..., None, :]
    return torch.where(inside[..., None, None], hills, 0.0)


def depth_loss(network: Any, taught: Lesson) -> Tensor:
    """|d - d'| + |edges of d - edges of d'|, weighted."""
    error = network(_laid_out(taught.pictures)).predicted_depth.float() - taught.near
    across = taught.weights[..., 1:] * error.diff(dim=-1).abs()
    down = taught.weights[:, 1:] * error.diff(dim=-2).abs()
    return (taught.weights * error.abs()).mean() + across.mean() + down.mean()


def pose_loss(network: Any, taught: Lesson) -> Tensor:
    """Squared error of the heatmaps (Xiao et al. 2018, arXiv:1804.06208, section 2), summed over their cells."""
    heat = network(_laid_out(taught.pictures)).logits.float()
    return F.mse_loss(heat, heat_of(taught.joints)) * HEAT**2


LOSSES: dict[str, Callable[[Any, Lesson], Tensor]] = {"depth": depth_loss, "pose": pose_loss}


def train(runs: Runs, name: str, data: Truths, steps: int) -> None:
    """Trains to `steps`, going on from the run's checkpoint where there is one."""
    torch.manual_seed(0)
    network, path = channels_last(new_network(name)).train(), runs.estimator(name)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    ema, first = copy_of(network), 0
    if state := load(path):
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema, first = state["ema"], state["step"]
    mean = 0.0
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(lesson, data, name, first)
        for step in counted(first, steps):
            taught, ahead = ahead.result(), pool.submit(lesson, data, name, step + 1)
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, PEAK, warmup=100)
            with torch.autocast("cpu", torch.bfloat16), PlainAttention():
                loss = LOSSES[name](network, taught)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema_update(ema, network, step, 0.998)
            mean += (loss.item() - mean) * (0.02 if step - first > 50 else 0.2)
            if (step + 1) % EVERY == 0 or step + 1 == steps:
                log.info("%s, step %d: loss %.4f", name, step + 1, mean)
                state = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema}
                save(path, state | {"step": step + 1})


def export(runs: Runs, name: str, folder: Path = FOLDER) -> None:
    """Writes the run's estimator as transformers does, fp16, whole or not at all: config.json, model.safetensors."""
    state = load(runs.estimator(name))
    if state is None:
        raise FileNotFoundError(f"{runs.root} holds no estimator of {name}: train it first")
    network: Any = new_network(name)
    network.load_state_dict(state["ema"])
    partial = folder / f"{name}.partial"
    network.half().save_pretrained(partial)
    (folder / name).mkdir(exist_ok=True)
    for file in partial.iterdir():
        file.chmod(0o644)
        os.replace(file, folder / name / file.name)
    shutil.rmtree(partial)


def main() -> None:
    """Trains and exports one estimator, or exports what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="its autoencoder gives pictures back")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the extension")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    runs = Runs(options.runs)
    data = open_truths(runs, load_model(options.checkpoint).loaded.vae)
    train(runs, options.name, data, options.steps)
    export(runs, options.name, options.output)


def _laid_out(pictures: Tensor) -> Tensor:
    return pictures.contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
