"""A small classifier that says what is in a picture, trained on rendered scenes alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.toybox.data import Pictures, open_dataset
from models.toybox.render import render
from models.toybox.training import channels_last, load, log, save
from models.toybox.world import COLORS, FLOORS, POSES, SHAPES, SKIES, PersonWords, Scene, ThingWords, scene_of

NOTHING = -100  # a label that the loss leaves out
# What is asked of a picture, and how many answers there are.
QUESTIONS: dict[str, int] = {
    "floor": len(FLOORS),
    "sky": len(SKIES),
    "person": 2,
    "shirt": len(COLORS),
    "pants": len(COLORS),
    "pose": len(POSES),
    **dict.fromkeys(SHAPES, 2),
    **{f"{shape} color": len(COLORS) for shape in SHAPES},
}


class Judge(nn.Module):
    """Looks for each shape and for a person in 8 x 8 cells, and reads colours and pose where it found them."""

    def __init__(self) -> None:
        super().__init__()
        widths, strides = (3, 32, 64, 96, 128, 128, 128), (2, 2, 2, 2, 1, 1)
        layers: list[nn.Module] = []
        for (channels, out_channels), stride in zip(pairwise(widths), strides, strict=True):
            layers += [nn.Conv2d(channels, out_channels, 3, stride, 1), nn.BatchNorm2d(out_channels), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.presence = nn.Conv2d(128, len(SHAPES) + 1, 1)
        nn.init.constant_(self.presence.bias, -5.0)  # type: ignore[arg-type]  # most cells show nothing
        self.color = nn.Linear(128, len(COLORS))
        self.person = nn.ModuleDict({name: nn.Linear(128, QUESTIONS[name]) for name in ("shirt", "pants", "pose")})
        self.ground = nn.ModuleDict({name: nn.Linear(256, QUESTIONS[name]) for name in ("floor", "sky")})

    def forward(self, pictures: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """pictures: (b 3 h w) in -1..1 -> logits (b answers) by question, x of each shape (b 5) in -1..1."""
        h = self.features(pictures)  # (b c y x)
        cells = self.presence(h).flatten(2)  # (b shapes-and-person yx)
        found, where = cells.logsumexp(-1), cells.softmax(-1)
        read = where @ h.flatten(2).transpose(1, 2)  # (b shapes-and-person c)
        halves = torch.cat([half.mean((2, 3)) for half in h.chunk(2, dim=2)], 1)  # (b 2c)
        logits = {name: layer(halves) for name, layer in self.ground.items()}
        logits |= {name: layer(read[:, -1]) for name, layer in self.person.items()}
        for index, name in enumerate((*SHAPES, "person")):
            logits[name] = F.pad(found[:, index, None], (1, 0))  # "absent" has logit 0
        logits |= {f"{shape} color": self.color(read[:, index]) for index, shape in enumerate(SHAPES)}
        across = torch.linspace(-1, 1, h.shape[-1], device=h.device).repeat(h.shape[-2])  # (yx)
        return logits, where[:, :-1] @ across


@dataclass(frozen=True)
class Verdict:
    """What a judge sees in one picture."""

    answers: dict[str, int]
    places: dict[str, float]
    best_shape: str
    best_color: str

    def color_of(self, shape: str) -> str | None:
        """The colour of the shape, or None where there is none."""
        return list(COLORS)[self.answers[f"{shape} color"]] if self.answers[shape] else None


def judge_pictures(judge: Judge, pictures: Tensor) -> list[Verdict]:
    """pictures: (b 3 128 128) in -1..1."""
    with torch.inference_mode():
        logits, places = judge.eval()(pictures)
    present = torch.stack([logits[shape][:, 1] - logits[shape][:, 0] for shape in SHAPES], 1)  # (b shapes)
    best = [SHAPES[index] for index in present.argmax(-1).tolist()]
    return [
        Verdict(
            {name: int(values[row].argmax()) for name, values in logits.items()},
            dict(zip(SHAPES, places[row].tolist(), strict=True)),
            best[row],
            list(COLORS)[int(logits[f"{best[row]} color"][row].argmax())],
        )
        for row in range(len(pictures))
    ]


def can_be_judged(scene: Scene) -> bool:
    """True where no two objects have the same shape: the questions know each shape once."""
    shapes = [words.shape for words in (subject.words for subject in scene.subjects) if isinstance(words, ThingWords)]
    return len(shapes) == len(set(shapes))


def labels_of(scene: Scene) -> tuple[dict[str, int], list[float]]:
    """The right answers, and x of each shape in the picture (nan where it is absent)."""
    colors = list(COLORS)
    labels = dict.fromkeys(QUESTIONS, NOTHING) | dict.fromkeys(("person", *SHAPES), 0)
    labels |= {"floor": list(FLOORS).index(scene.floor), "sky": list(SKIES).index(scene.sky)}
    places = [float("nan")] * len(SHAPES)
    for subject in scene.subjects:
        words = subject.words
        if isinstance(words, PersonWords):
            pose = list(POSES).index(words.pose or "")
            person = {"shirt": colors.index(words.shirt or ""), "pants": colors.index(words.pants or "")}
            labels |= {"person": 1, "pose": pose, **person}
        else:
            labels |= {words.shape: 1, f"{words.shape} color": colors.index(words.color or "")}
            spot = scene.camera.project(np.array([[subject.x, 0.0, subject.z]]))[0, 0]
            places[SHAPES.index(words.shape)] = float(2 * spot - 1)
    return labels, places


@dataclass(frozen=True)
class Lesson:
    """pictures: (b 3 h w) in -1..1; labels: (b) by question; places: (b 5)."""

    pictures: Tensor
    labels: dict[str, Tensor]
    places: Tensor


def lesson(scenes: Sequence[Scene], images: NDArray[np.uint8]) -> Lesson:
    """Scenes and their pictures (b h w 3) with the right answers."""
    answers = [labels_of(scene) for scene in scenes]
    return Lesson(
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1,
        {name: torch.tensor([labels[name] for labels, _ in answers]) for name in QUESTIONS},
        torch.tensor([places for _, places in answers]),
    )


def fresh_lesson(first_seed: int, count: int) -> Lesson:
    """`count` scenes that can be judged, newly rendered."""
    seeds = (seed for seed in range(first_seed, first_seed + 10 * count) if can_be_judged(scene_of(seed)))
    scenes = [scene_of(seed) for seed in islice(seeds, count)]
    return lesson(scenes, np.stack([render(scene).image for scene in scenes]))


def training_lesson(data: Pictures, rng: np.random.Generator, count: int) -> Lesson:
    """Scenes of the training set that can be judged; at most `count` of them."""
    indices = [i for i in rng.integers(0, len(data), count).tolist() if can_be_judged(scene_of(i))]
    return lesson([scene_of(i) for i in indices], np.stack([data.images[i] for i in indices]))


def blurred(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures softened, some noise on all: an autoencoder's faults, roughly."""
    small = F.interpolate(pictures, scale_factor=0.5, mode="area")
    soft = F.interpolate(small, size=pictures.shape[-2:], mode="bilinear")
    chosen = torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.5
    noise = torch.randn(pictures.shape, generator=generator) * 0.04
    return torch.where(chosen, soft, pictures) + noise


def loss_of(judge: Judge, pictures: Tensor, labels: dict[str, Tensor], places: Tensor) -> Tensor:
    """Cross-entropy of all questions, and the squared error of the places that are known."""
    with torch.autocast("cpu", torch.bfloat16):
        logits, guessed = judge(pictures)
    asked = [
        F.cross_entropy(logits[n].float(), labels[n], ignore_index=NOTHING) for n in QUESTIONS if (labels[n] >= 0).any()
    ]
    known = ~places.isnan()
    return torch.stack(asked).sum() + 3 * (guessed.float() - places)[known].square().mean()


def trained_judge(path: Path, data_folder: Path, steps: int = 1500, batch: int = 48) -> Judge:
    """The judge kept at path; trained first on the rendered pictures of a folder where there is none."""
    torch.manual_seed(0)
    judge = channels_last(Judge())
    if state := load(path):
        judge.load_state_dict(state)
        return judge.eval()
    generator, rng, data = torch.Generator().manual_seed(0), np.random.default_rng(0), open_dataset(data_folder)
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    for step in range(steps):
        taught = training_lesson(data, rng, batch)
        loss = loss_of(judge.train(), blurred(taught.pictures, generator), taught.labels, taught.places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            log.info("judge, step %d: loss %.3f", step + 1, loss.item())
    save(path, judge.state_dict())
    return judge.eval()
