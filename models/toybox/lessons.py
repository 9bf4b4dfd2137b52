"""What the judges learn from: rendered scenes, where their subjects stand in the picture, and what words they have.

An autoencoder loses thin arms and the colour of thin legs; judges that never saw that are wrong about a tenth of the
poses. So a part of the pictures passes through the autoencoder of the checkpoint that is to be judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.toybox.config import PICTURE_SIZE, Runs
from models.toybox.data import Pictures, open_dataset, render_dataset
from models.toybox.judges import CELLS, PERSON, THING, Answers
from models.toybox.training import log
from models.toybox.world import PersonWords, Scene, Words, scene_of
from webui.nn.vae import VAE

SCENES = 6000
CODED = 4000  # of them, how many pass through the autoencoder
BATCH = 64
LEAST = 24  # pixels of a subject that must be seen: what hides behind another cannot be judged


@dataclass(frozen=True)
class Seen:
    """A subject in a picture: the picture's number, x and y of its middle in 0..1, and its words."""

    picture: int
    middle: tuple[float, float]
    words: Words

    @property
    def kind(self) -> int:
        """THING or PERSON."""
        return PERSON if isinstance(self.words, PersonWords) else THING


def seen_in(scene: Scene, owners: NDArray[np.int8], picture: int) -> Iterator[Seen]:
    """The subjects that show LEAST pixels; their middle is that of the box around these. owners: (s s)."""
    for index, subject in enumerate(scene.subjects):
        rows, columns = np.nonzero(owners == index)
        if len(rows) >= LEAST:
            x, y = (float(values.min() + values.max() + 1) / 2 / len(owners) for values in (columns, rows))
            yield Seen(picture, (x, y), subject.words)


def labels_of(words: list[dict[str, str]], answers: Answers) -> dict[str, Tensor]:
    """Indices (b,) of the right answers by question."""
    return {name: torch.tensor([choices.index(w[name]) for w in words]) for name, choices in answers.items()}


def heat_of(middles: list[list[tuple[float, float]]]) -> Tensor:
    """What the finder should see: 1 at a middle, falling off within a cell. Middles of b pictures -> (b 16 16)."""
    axis = (torch.arange(CELLS) + 0.5) / CELLS
    heat = torch.zeros(len(middles), CELLS, CELLS)
    for row, points in enumerate(middles):
        for x, y in points:
            distance = ((axis - x)[None, :] ** 2 + (axis - y)[:, None] ** 2) * CELLS**2
            heat[row] = torch.maximum(heat[row], torch.exp(-distance / 1.0))
    return heat


def worn(views: Tensor, generator: torch.Generator) -> Tensor:
    """Views (b 3 h w), more or less softened and with some noise: the faults of an autoencoder, roughly."""
    soft = F.interpolate(F.avg_pool2d(views, 2), scale_factor=2.0, mode="bilinear")
    softness = torch.rand(len(views), 1, 1, 1, generator=generator)
    return torch.lerp(views, soft, softness) + 0.04 * torch.randn(views.shape, generator=generator)


@torch.inference_mode()
def autoencoded(vae: VAE, pictures: Tensor, batch: int = 25) -> Tensor:
    """Pictures (b 3 h w) through encoder (mode) and decoder, float32."""
    parts = []
    for part in pictures.split(batch):
        with torch.autocast("cpu", torch.bfloat16):
            decoded = vae.decode(vae.encode(part.contiguous(memory_format=torch.channels_last)).mode())
        parts.append(decoded.float().clamp(-1, 1))
    return torch.cat(parts)


@dataclass(frozen=True)
class School:
    """n rendered scenes, the first m of them also as the autoencoder gives them back; and the subjects that show.

    coded: (m s s 3) uint8.
    """

    data: Pictures
    coded: NDArray[np.uint8]
    scenes: tuple[Scene, ...]
    subjects: tuple[Seen, ...]

    def pictures(self, numbers: list[int], coded: bool) -> Tensor:
        """(b 3 h w) in -1..1."""
        source = self.coded if coded else self.data.images
        images = torch.from_numpy(np.stack([source[number] for number in numbers]))
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1

    def middles(self, kind: int) -> list[list[tuple[float, float]]]:
        """The middles of all things, or all people, by picture."""
        found: list[list[tuple[float, float]]] = [[] for _ in self.scenes]
        for seen in self.subjects:
            if seen.kind == kind:
                found[seen.picture].append(seen.middle)
        return found


def open_school(runs: Runs, vae: VAE) -> School:
    """Renders the judges' own scenes, and passes them through the autoencoder, where that has not been done."""
    render_dataset(runs.judge_data, SCENES, PICTURE_SIZE)
    data, path = open_dataset(runs.judge_data), runs.judge_data / "coded.npy"
    if not path.exists():
        log.info("passing %d scenes through the autoencoder", CODED)
        decoded = autoencoded(vae, data.tensor(0, CODED))
        np.save(path, ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return school(data, np.load(path, mmap_mode="r"))


def school(data: Pictures, coded: NDArray[np.uint8]) -> School:
    """What pictures of the first scenes teach."""
    scenes = tuple(scene_of(seed) for seed in range(len(data)))
    subjects = [seen for number, scene in enumerate(scenes) for seen in seen_in(scene, data.owners[number], number)]
    return School(data, coded, scenes, tuple(subjects))


@dataclass(frozen=True)
class Half:
    """Half of a batch: numbers out of a list, and whether their pictures are taken as the autoencoder gives them."""

    numbers: list[int]
    coded: bool


def halves(count: int, coded: int, generator: torch.Generator) -> tuple[Half, Half]:
    """Numbers below `count` for rendered pictures, and numbers below `coded` for coded ones."""
    size = (BATCH // 2,)
    return (
        Half(torch.randint(count, size, generator=generator).tolist(), False),
        Half(torch.randint(coded, size, generator=generator).tolist(), True),
    )
