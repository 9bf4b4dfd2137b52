"""Teaches the text encoder what captions say before any picture is drawn.

The U-Net starts by averaging all 77 text states, two thirds of which are padding and at first alike: for a thousand
steps it finds nothing in them. So the states are first trained until their average tells every fact of the caption.
"""

import argparse
import logging
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.toybox.config import Runs, model_config
from models.toybox.tokenizer import WordTokenizer
from models.toybox.training import PlainAttention, counted, learning_rate, log, save
from models.toybox.world import (
    COLORS,
    FLOORS,
    POSES,
    RELATIONS,
    SHAPES,
    SIZES,
    SKIES,
    Facts,
    PersonWords,
    augmented_caption,
    parse_caption,
    scene_of,
)
from webui.nn.text import build_text

BATCH = 96
# Answers by question; the first answer, None, is "not said".
ANSWERS: dict[str, tuple[str | None, ...]] = {
    "floor": (None, *FLOORS),
    "sky": (None, *SKIES),
    "relation": (None, *RELATIONS),
    "first": (None, "person", *SHAPES),
    "person": (None, "person"),
    "shirt": (None, *COLORS),
    "pants": (None, *COLORS),
    "pose": (None, *POSES),
    **{shape: (None, shape) for shape in SHAPES},
    **{f"{shape} color": (None, *COLORS) for shape in SHAPES},
    **{f"{shape} size": (None, *SIZES) for shape in SHAPES},
}


def said(facts: Facts) -> dict[str, str | None]:
    """What a caption says, by question; of two objects of one shape the first counts."""
    words: dict[str, str | None] = {"floor": facts.floor, "sky": facts.sky, "relation": facts.relation}
    for subject in reversed(facts.subjects):
        if isinstance(subject, PersonWords):
            words |= {"first": "person", "person": "person"}
            words |= {"shirt": subject.shirt, "pants": subject.pants, "pose": subject.pose}
        else:
            shape = subject.shape
            words |= {"first": shape, shape: shape, f"{shape} color": subject.color, f"{shape} size": subject.size}
    return words


def quiz(step: int, tokenizer: WordTokenizer) -> tuple[Tensor, dict[str, Tensor]]:
    """ids (b 77) of captions, and the right answers (b) by question."""
    rng = random.Random(f"text {step}")
    texts = [augmented_caption(scene_of(rng.randrange(1_000_000)), rng) for _ in range(BATCH)]
    answers = [said(parse_caption(text)) for text in texts]
    labels = {name: torch.tensor([choices.index(a.get(name)) for a in answers]) for name, choices in ANSWERS.items()}
    return torch.tensor([tokenizer.encode(text) for text in texts]), labels


def train(runs: Runs, steps: int, peak: float = 2e-3) -> None:
    """Writes the taught text encoder into the run."""
    torch.manual_seed(0)
    config, tokenizer = model_config().texts[0], WordTokenizer.of_the_world()
    text = build_text(config)
    heads = nn.ModuleDict({name: nn.Linear(config.width, len(choices)) for name, choices in ANSWERS.items()})
    optimizer = torch.optim.AdamW([*text.parameters(), *heads.parameters()], peak, weight_decay=1e-2, fused=True)
    for step in counted(0, steps):
        ids, labels = quiz(step, tokenizer)
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak, warmup=50)
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            states = text(ids).hidden.float().mean(1)  # (b d)
        logits = {name: head(states) for name, head in heads.items()}
        loss = torch.stack([F.cross_entropy(logits[name], labels[name]) for name in ANSWERS]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            right = [(logits[name].argmax(-1) == labels[name]).float().mean() for name in ANSWERS]
            log.info("text, step %d: loss %.3f, right %.3f", step + 1, loss.item(), torch.stack(right).mean())
            save(runs.text, text.state_dict())


def main() -> None:
    """`python -m models.toybox.train_text --steps 1000`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    train(Runs(options.runs), options.steps)


if __name__ == "__main__":
    main()
