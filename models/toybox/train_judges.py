"""Trains the judges on rendered scenes: each classifier on views around the true middles, a little off and blurred."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.toybox.config import PICTURE_SIZE, Runs
from models.toybox.data import Pictures, open_dataset, render_dataset
from models.toybox.judges import (
    CELLS,
    GROUND_ANSWERS,
    PERSON,
    PERSON_ANSWERS,
    SIDES,
    THING,
    THING_ANSWERS,
    Answers,
    Classifier,
    Finder,
    Judges,
    crops,
    whole,
)
from models.toybox.training import counted, load, log, save
from models.toybox.world import PersonWords, Scene, Words, scene_of

SCENES = 6000
BATCH = 64
PEAK = 3e-3
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


def seen_in(scene: Scene, owners: np.ndarray, picture: int) -> Iterator[Seen]:
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


@dataclass(frozen=True)
class School:
    """The rendered scenes and the subjects that show in them."""

    data: Pictures
    scenes: tuple[Scene, ...]
    subjects: tuple[Seen, ...]

    def pictures(self, numbers: list[int]) -> Tensor:
        """(b 3 h w) in -1..1."""
        images = torch.from_numpy(np.stack([self.data.images[number] for number in numbers]))
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1

    def middles(self, kind: int) -> list[list[tuple[float, float]]]:
        """The middles of all things, or all people, by picture."""
        found: list[list[tuple[float, float]]] = [[] for _ in self.scenes]
        for seen in self.subjects:
            if seen.kind == kind:
                found[seen.picture].append(seen.middle)
        return found


def open_school(runs: Runs, count: int = SCENES) -> School:
    """Renders the judges' own scenes where that has not been done."""
    render_dataset(runs.judge_data, count, PICTURE_SIZE)
    data = open_dataset(runs.judge_data)
    scenes = tuple(scene_of(seed) for seed in range(count))
    subjects = [seen for number, scene in enumerate(scenes) for seen in seen_in(scene, data.owners[number], number)]
    return School(data, scenes, tuple(subjects))


Loss = Callable[[torch.Generator], Tensor]


def chosen(count: int, generator: torch.Generator) -> list[int]:
    """BATCH numbers below `count`."""
    numbers: list[int] = torch.randint(count, (BATCH,), generator=generator).tolist()
    return numbers


def finder_loss(school: School, net: Finder) -> Loss:
    """Cross-entropy of the heat on whole pictures."""
    heat = torch.stack([heat_of(school.middles(kind)) for kind in (THING, PERSON)], 1)  # (n kinds 16 16)

    def loss(generator: torch.Generator) -> Tensor:
        numbers = chosen(len(school.scenes), generator)
        views, target = worn(whole(school.pictures(numbers)), generator), heat[numbers]
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(views)
        return F.binary_cross_entropy_with_logits(logits.float(), target) * CELLS

    return loss


def ground_loss(school: School, net: Classifier) -> Loss:
    """Cross-entropy of floor and sky on whole pictures."""
    labels = labels_of([{"floor": scene.floor, "sky": scene.sky} for scene in school.scenes], GROUND_ANSWERS)

    def loss(generator: torch.Generator) -> Tensor:
        numbers = chosen(len(school.scenes), generator)
        return answers_loss(net, worn(whole(school.pictures(numbers)), generator), labels, numbers)

    return loss


def subject_loss(school: School, net: Classifier, kind: int, answers: Answers) -> Loss:
    """Cross-entropy of what is asked about things, or about people, on squares roughly around them."""
    subjects = [seen for seen in school.subjects if seen.kind == kind]
    labels = labels_of([vars(seen.words) for seen in subjects], answers)
    middles = torch.tensor([seen.middle for seen in subjects])

    def loss(generator: torch.Generator) -> Tensor:
        numbers = chosen(len(subjects), generator)
        off = (torch.rand(BATCH, 2, generator=generator) - 0.5) * 1.5 / CELLS
        sides = SIDES[kind] * (0.9 + 0.2 * torch.rand(BATCH, generator=generator))
        pictures = school.pictures([subjects[number].picture for number in numbers])
        views = worn(crops(pictures, middles[numbers] + off, sides), generator)
        mirrored = torch.rand(BATCH, 1, 1, 1, generator=generator) < 0.5
        return answers_loss(net, torch.where(mirrored, views.flip(-1), views), labels, numbers)

    return loss


def answers_loss(net: Classifier, views: Tensor, labels: dict[str, Tensor], numbers: list[int]) -> Tensor:
    """The sum of the questions' cross-entropies; labels by question, of which the batch has `numbers`."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(views)
    return torch.stack([F.cross_entropy(logits[name].float(), labels[name][numbers]) for name in logits]).sum()


def train(name: str, net: nn.Module, loss_of: Loss, steps: int) -> None:
    """Adam with decoupled weight decay, one cycle of the learning rate."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), PEAK, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, steps, pct_start=0.2)
    net.train()
    mean = 0.0
    for step in counted(0, steps):
        loss = loss_of(generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        mean += (loss.item() - mean) * (0.05 if step > 20 else 0.3)
        if (step + 1) % 100 == 0:
            log.info("%s, step %d: loss %.3f", name, step + 1, mean)


def trained_judges(runs: Runs) -> Judges:
    """The judges of a run; trained first where there are none."""
    torch.manual_seed(0)
    judges = Judges()
    if state := load(runs.judges):
        judges.load_state_dict(state)
        return judges.eval()
    school = open_school(runs)
    train("finder", judges.finder, finder_loss(school, judges.finder), 600)
    train("ground", judges.ground, ground_loss(school, judges.ground), 300)
    train("things", judges.thing, subject_loss(school, judges.thing, THING, THING_ANSWERS), 1200)
    train("people", judges.person, subject_loss(school, judges.person, PERSON, PERSON_ANSWERS), 1000)
    save(runs.judges, judges.state_dict())
    return judges.eval()
