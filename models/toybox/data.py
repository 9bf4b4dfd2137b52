"""Rendered scenes on disk: a folder of flat arrays, read by memory map. Scene number i is `scene_of(i)`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.toybox.render import render
from models.toybox.world import scene_of

# Scenes from here on are never rendered into a training set.
HELD_OUT = 10_000_000


@dataclass(frozen=True)
class Pictures:
    """n pictures of size s: images (n s s 3) uint8, owners (n s s) int8 (see Rendering.owner), seeds from 0 to n."""

    images: NDArray[np.uint8]
    owners: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "Pictures":
        """The pictures of scenes 0..count."""
        return Pictures(self.images[:count], self.owners[:count])

    def tensor(self, start: int, end: int) -> Tensor:
        """Pictures start..end as (b 3 h w) in -1..1."""
        return torch.from_numpy(np.array(self.images[start:end])).permute(0, 3, 1, 2).float() / 127.5 - 1


def render_dataset(folder: Path, count: int, size: int = 128, workers: int = 2) -> None:
    """Renders scenes 0..count into folder; goes on where an earlier run stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = "r+" if (folder / "images.npy").exists() else "w+"
    shape = None if mode == "r+" else (count, size, size)
    images = np.lib.format.open_memmap(folder / "images.npy", mode, np.uint8, shape and (*shape, 3))
    owners = np.lib.format.open_memmap(folder / "owners.npy", mode, np.int8, shape)
    if len(images) != count:
        raise ValueError(f"{folder} holds {len(images)} pictures, not {count}: choose another folder or remove it")
    done = folder / "done.txt"
    first = int(done.read_text()) if done.exists() else 0

    def draw(seed: int) -> None:
        picture = render(scene_of(seed), size)
        images[seed], owners[seed] = picture.image, picture.owner

    with ThreadPoolExecutor(workers) as pool:
        for start in range(first, count, 500):
            list(pool.map(draw, range(start, min(start + 500, count))))
            done.write_text(str(min(start + 500, count)))


def open_dataset(folder: Path) -> Pictures:
    """The pictures rendered so far."""
    done = int((folder / "done.txt").read_text())
    images = np.load(folder / "images.npy", mmap_mode="r")
    owners = np.load(folder / "owners.npy", mmap_mode="r")
    return Pictures(images[:done], owners[:done])
