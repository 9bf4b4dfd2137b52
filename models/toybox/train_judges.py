"""Trains the judges: each classifier on views around the true middles, a little off, softened and mirrored."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.toybox.config import Runs
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
from models.toybox.lessons import School, halves, heat_of, labels_of, open_school, worn
from models.toybox.training import counted, load, log, save
from webui.nn.vae import VAE

PEAK = 3e-3
STEPS = {"finder": 400, "ground": 100, "thing": 800, "person": 1200}

Loss = Callable[[torch.Generator], Tensor]


def whole_views(school: School, generator: torch.Generator) -> tuple[list[int], Tensor]:
    """Numbers of scenes (b,) and what they look like as a whole (b 3 64 64)."""
    parts = halves(len(school.scenes), len(school.coded), generator)
    views = torch.cat([whole(school.pictures(half.numbers, half.coded)) for half in parts])
    return [number for half in parts for number in half.numbers], worn(views, generator)


def finder_loss(school: School, net: Finder) -> Loss:
    """Cross-entropy of the heat on whole pictures."""
    heat = torch.stack([heat_of(school.middles(kind)) for kind in (THING, PERSON)], 1)  # (n kinds 16 16)

    def loss(generator: torch.Generator) -> Tensor:
        numbers, views = whole_views(school, generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(views)
        return F.binary_cross_entropy_with_logits(logits.float(), heat[numbers]) * CELLS

    return loss


def ground_loss(school: School, net: Classifier) -> Loss:
    """Cross-entropy of floor and sky on whole pictures."""
    labels = labels_of([{"floor": scene.floor, "sky": scene.sky} for scene in school.scenes], GROUND_ANSWERS)

    def loss(generator: torch.Generator) -> Tensor:
        numbers, views = whole_views(school, generator)
        return answers_loss(net, views, labels, numbers)

    return loss


def subject_loss(school: School, net: Classifier, kind: int, answers: Answers) -> Loss:
    """Cross-entropy of what is asked about things, or about people, on squares roughly around them."""
    subjects = [seen for seen in school.subjects if seen.kind == kind]
    coded = sum(seen.picture < len(school.coded) for seen in subjects)  # they come first
    labels = labels_of([vars(seen.words) for seen in subjects], answers)
    middles = torch.tensor([seen.middle for seen in subjects])

    def loss(generator: torch.Generator) -> Tensor:
        parts = halves(len(subjects), coded, generator)
        numbers = [number for half in parts for number in half.numbers]
        pictures = [school.pictures([subjects[n].picture for n in half.numbers], half.coded) for half in parts]
        off = (torch.rand(len(numbers), 2, generator=generator) - 0.5) * 1.5 / CELLS
        sides = SIDES[kind] * (0.9 + 0.2 * torch.rand(len(numbers), generator=generator))
        views = worn(crops(torch.cat(pictures), middles[numbers] + off, sides), generator)
        mirrored = torch.rand(len(numbers), 1, 1, 1, generator=generator) < 0.5
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
    mean = math.nan
    for step in counted(0, steps):
        loss = loss_of(generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        mean = loss.item() if math.isnan(mean) else 0.95 * mean + 0.05 * loss.item()
        if (step + 1) % 100 == 0:
            log.info("%s, step %d: loss %.3f", name, step + 1, mean)


def trained_judges(runs: Runs, vae: VAE) -> Judges:
    """The judges of a run; trained first where there are none, for pictures as this autoencoder decodes them."""
    torch.manual_seed(0)
    judges = Judges()
    if state := load(runs.judges):
        judges.load_state_dict(state)
        return judges.eval()
    lessons = open_school(runs, vae)
    losses = {
        "finder": finder_loss(lessons, judges.finder),
        "ground": ground_loss(lessons, judges.ground),
        "thing": subject_loss(lessons, judges.thing, THING, THING_ANSWERS),
        "person": subject_loss(lessons, judges.person, PERSON, PERSON_ANSWERS),
    }
    for name, net in judges.named_children():
        train(name, net, losses[name], STEPS[name])
    save(runs.judges, judges.state_dict())
    return judges.eval()
