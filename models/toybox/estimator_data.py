"""What the estimators of depth and pose learn from: rendered scenes, their inverse depth and joints, on disk.

The pictures themselves are those of the training set; a part of them is kept as the autoencoder gives them back, which
is how a generated picture looks.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.data import Pictures, open_dataset
from models.toybox.lessons import autoencoded
from models.toybox.render import Rendering, render
from models.toybox.training import log
from models.toybox.world import KEYPOINTS, scene_of
from webui.nn.vae import VAE

SCENES = 11_000
CODED = 2_000  # of them, how many pass through the autoencoder
SKY = 1 / 25  # inverse depth of the sky, 1 / metres (`_shade` in render.py)


@dataclass(frozen=True)
class Truths:
    """n scenes of size s. depths: (n s s) float16, 1 / metres; joints: (n 18 2) in pixels, NaN where nobody is.

    coded: (m s s 3) uint8, the first m pictures as the autoencoder gives them back.
    """

    pictures: Pictures
    depths: NDArray[np.float16]
    joints: NDArray[np.float32]
    coded: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.depths)


def nearness(inverse_depth: Tensor) -> Tensor:
    """Inverse depth (b h w), 1 / metres -> 0 (sky) to 1 (the nearest pixel of the picture): the map that is shown."""
    above = (inverse_depth - SKY).clamp(min=0)
    return above / above.amax((-2, -1), keepdim=True).clamp(min=1e-6)


def joints_in(rendering: Rendering) -> NDArray[np.float32]:
    """(18 2) in pixels; NaN where nobody is. A scene of this world has one person at most."""
    return rendering.keypoints[0] if rendering.keypoints else np.full((len(KEYPOINTS), 2), np.nan, np.float32)


def render_truths(folder: Path, count: int, size: int, workers: int = 1) -> None:
    """Renders depth and joints of scenes 0..count into folder; goes on where an earlier run stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = "r+" if (folder / "joints.npy").exists() else "w+"
    shape = None if mode == "r+" else (count,)
    depths = np.lib.format.open_memmap(folder / "depths.npy", mode, np.float16, shape and (*shape, size, size))
    joints = np.lib.format.open_memmap(folder / "joints.npy", mode, np.float32, shape and (*shape, len(KEYPOINTS), 2))
    if len(joints) != count:
        raise ValueError(f"{folder} holds {len(joints)} scenes, not {count}: remove it")
    done = folder / "done.txt"
    first = int(done.read_text()) if done.exists() else 0

    def draw(seed: int) -> None:
        scene = render(scene_of(seed), size)
        depths[seed], joints[seed] = scene.inverse_depth, joints_in(scene)

    with ThreadPoolExecutor(workers) as pool:
        for start in range(first, count, 500):
            end = min(start + 500, count)
            list(pool.map(draw, range(start, end)))
            done.write_text(str(end))
            log.info("rendered %d of %d scenes", end, count)


def open_truths(runs: Runs, vae: VAE, scenes: int = SCENES, coded: int = CODED) -> Truths:
    """The run's pictures with what they show; rendered, and passed through the autoencoder, where that is not done."""
    pictures = open_dataset(runs.data)
    count, folder = min(scenes, len(pictures)), runs.estimator_data
    render_truths(folder, count, pictures.images.shape[1])
    path = folder / "coded.npy"
    if not path.exists():
        log.info("passing %d pictures through the autoencoder", min(coded, count))
        np.save(path, as_bytes(autoencoded(vae, pictures.tensor(0, min(coded, count)))))
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("depths", "joints", "coded"))
    return Truths(pictures.first(count), *arrays)


def as_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """(b 3 h w) in -1..1 -> (b h w 3)."""
    found: NDArray[np.uint8] = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return found


def as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """(b h w 3) -> (b 3 h w) in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
