"""Judges: small classifiers that say what is in a picture, trained on rendered scenes alone (see train_judges.py).

One finds the subjects, the others read them: a crop around a thing shows its shape and colour, a crop around a person
shows clothes and pose, the whole picture shows floor and sky.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.toybox.training import channels_last
from models.toybox.world import COLORS, FLOORS, POSES, SHAPES, SKIES

VIEW = 64  # pixels a side of what a classifier sees
CELLS = 16  # places a side where the finder looks for the middle of a subject
THING, PERSON = range(2)
# Side of the square around a subject that is read, as a part of the picture's: all of it, with room for an error.
SIDES = {THING: 0.5, PERSON: 0.875}
SEEN = 0.3  # the finder's probability from which on a subject counts as seen
GROUND_ANSWERS = {"floor": tuple(FLOORS), "sky": tuple(SKIES)}
THING_ANSWERS = {"shape": SHAPES, "color": tuple(COLORS)}
PERSON_ANSWERS = {"shirt": tuple(COLORS), "pants": tuple(COLORS), "pose": tuple(POSES)}
Answers = dict[str, tuple[str, ...]]


def layer(channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, norm, ReLU: (b c h w) -> (b c' h/stride w/stride)."""
    conv = nn.Conv2d(channels, out_channels, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class Finder(nn.Module):
    """Where the middles of things and persons are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            layer(3, 32, stride=2),
            layer(32, 64, stride=2),
            *(layer(64, 64, dilation=dilation) for dilation in (1, 2, 4, 1)),
            nn.Conv2d(64, len(SIDES), 1),
        )

    def forward(self, views: Tensor) -> Tensor:
        """views: (b 3 64 64) in -1..1 -> logits (b kinds 16 16)."""
        logits: Tensor = self.layers(views)
        return logits


class Classifier(nn.Module):
    """Answers some questions about a view."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        self.layers = nn.Sequential(
            *(layer(channels, out_channels, stride=2) for channels, out_channels in pairwise(widths)),
            layer(widths[-1], widths[-1]),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(16 * widths[-1], len(words)) for name, words in answers.items()})

    def forward(self, views: Tensor) -> dict[str, Tensor]:
        """views: (b 3 64 64) in -1..1 -> logits (b answers) by question."""
        h = self.layers(views)  # (b 16c)
        return {name: head(h) for name, head in self.heads.items()}


class Judges(nn.Module):
    """All four."""

    def __init__(self) -> None:
        super().__init__()
        self.finder = channels_last(Finder())
        self.ground = channels_last(Classifier(GROUND_ANSWERS))
        self.thing = channels_last(Classifier(THING_ANSWERS))
        self.person = channels_last(Classifier(PERSON_ANSWERS))


def whole(pictures: Tensor) -> Tensor:
    """Pictures of any size as views: (b 3 h w) -> (b 3 64 64)."""
    return F.adaptive_avg_pool2d(pictures, VIEW)


def crops(pictures: Tensor, middles: Tensor, sides: Tensor) -> Tensor:
    """Squares of the pictures as views; what lies outside is the nearest pixel inside.

    pictures: (b 3 h w); middles: (b 2) x and y in 0..1; sides: (b,), a part of the picture's -> (b 3 64 64).
    """
    scale = torch.diag_embed(sides[:, None].expand(-1, 2))  # (b 2 2)
    theta = torch.cat([scale, (2 * middles - 1)[:, :, None]], -1)  # (b 2 3)
    grid = F.affine_grid(theta, [len(pictures), 3, VIEW, VIEW], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Spot:
    """A subject that was found: its picture's row in the batch, its middle in 0..1, how sure the finder is."""

    row: int
    x: float
    y: float
    sure: float


def spots(heat: Tensor) -> list[Spot]:
    """Peaks of one kind: heat (b 16 16), probabilities -> the cells that are largest among their eight neighbours."""
    peak = (heat == F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0]) & (heat > SEEN)
    return [
        Spot(row, (x + 0.5) / CELLS, (y + 0.5) / CELLS, float(heat[row, y, x])) for row, y, x in peak.nonzero().tolist()
    ]


@dataclass(frozen=True)
class Thing:
    """An object as a judge sees it; x in 0..1 from left to right."""

    shape: str
    color: str
    x: float
    sure: float


@dataclass(frozen=True)
class Person:
    """A person as a judge sees one."""

    shirt: str
    pants: str
    pose: str
    sure: float


@dataclass(frozen=True)
class Verdict:
    """What the judges see in one picture, the surest first."""

    floor: str
    sky: str
    things: tuple[Thing, ...]
    people: tuple[Person, ...]


@torch.inference_mode()
def judge(judges: Judges, pictures: Tensor) -> list[Verdict]:
    """pictures: (b 3 h w) in -1..1, h = w."""
    judges.eval()
    views = whole(pictures)
    heat = judges.finder(views).sigmoid()  # (b kinds 16 16)
    ground = read(judges.ground(views), GROUND_ANSWERS)
    things: list[list[Thing]] = [[] for _ in pictures]
    people: list[list[Person]] = [[] for _ in pictures]
    found = sorted(spots(heat[:, THING]), key=lambda spot: -spot.sure)
    for spot, words in zip(found, _seen(judges.thing, pictures, found, THING, THING_ANSWERS), strict=True):
        things[spot.row].append(Thing(words["shape"], words["color"], spot.x, spot.sure))
    found = sorted(spots(heat[:, PERSON]), key=lambda spot: -spot.sure)
    for spot, words in zip(found, _seen(judges.person, pictures, found, PERSON, PERSON_ANSWERS), strict=True):
        people[spot.row].append(Person(words["shirt"], words["pants"], words["pose"], spot.sure))
    return [
        Verdict(words["floor"], words["sky"], tuple(things[row]), tuple(people[row]))
        for row, words in enumerate(ground)
    ]


def read(logits: dict[str, Tensor], answers: Answers) -> list[dict[str, str]]:
    """The likeliest answers: logits (b answers) by question -> one dict for each row."""
    chosen = {name: values.argmax(-1).tolist() for name, values in logits.items()}
    rows = len(next(iter(logits.values())))
    return [{name: answers[name][chosen[name][row]] for name in answers} for row in range(rows)]


def _seen(
    classifier: Classifier, pictures: Tensor, found: list[Spot], kind: int, answers: Answers
) -> list[dict[str, str]]:
    if not found:
        return []
    middles = torch.tensor([[spot.x, spot.y] for spot in found])
    rows = pictures[[spot.row for spot in found]]
    return read(classifier(crops(rows, middles, torch.full((len(found),), SIDES[kind]))), answers)
