"""Measures a checkpoint on 200 scenes and 200 prompts that no training saw: `python -m models.toybox.evaluate`.

A figure counts only where its judge is right on fresh renders passed through the autoencoder; both are printed.
"""

import argparse
import logging
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.data import HELD_OUT
from models.toybox.export import CHECKPOINT
from models.toybox.judges import NOTHING, QUESTIONS, Judge, Verdict, fresh_lesson, judge_pictures, trained_judge
from models.toybox.sample import Model, grid, load_model
from models.toybox.world import (
    COLORS,
    FLOORS,
    POSES,
    SHAPES,
    SIZES,
    SKIES,
    Facts,
    PersonWords,
    ThingWords,
    full_caption,
)

Score = tuple[str, bool]


def prompts(count: int = 200, seed: int = HELD_OUT) -> list[Facts]:
    """Two fifths single objects, three tenths persons, three tenths two objects left or right of one another."""
    rng = random.Random(seed)
    return [_facts(index % 10, rng) for index in range(count)]


def _facts(kind: int, rng: random.Random) -> Facts:
    floor, sky = rng.choice(list(FLOORS)), rng.choice(list(SKIES))
    if kind < 3:
        person = PersonWords(rng.choice(list(COLORS)), rng.choice(list(COLORS)), rng.choice(list(POSES)))
        return Facts((person,), None, floor, sky)
    shapes, colors = rng.sample(SHAPES, 2), rng.sample(list(COLORS), 2)
    things = tuple(ThingWords(rng.choice(list(SIZES)), c, s) for s, c in zip(shapes, colors, strict=True))
    if kind < 7:
        return Facts(things[:1], None, floor, sky)
    return Facts(things, rng.choice(("left of", "right of")), floor, sky)


def scores(facts: Facts, verdict: Verdict) -> Iterator[Score]:
    """What is right in the picture of a prompt."""
    yield "floor", list(FLOORS)[verdict.answers["floor"]] == facts.floor
    yield "sky", list(SKIES)[verdict.answers["sky"]] == facts.sky
    first, *rest = facts.subjects
    if isinstance(first, PersonWords):
        yield "person seen", verdict.answers["person"] == 1
        yield "shirt colour", list(COLORS)[verdict.answers["shirt"]] == first.shirt
        yield "pants colour", list(COLORS)[verdict.answers["pants"]] == first.pants
        yield "pose", list(POSES)[verdict.answers["pose"]] == first.pose
    elif not rest:
        yield "object colour", verdict.best_color == first.color
        yield "object shape", verdict.best_shape == first.shape
    else:
        things = [words for words in facts.subjects if isinstance(words, ThingWords)]
        yield "two objects, colours bound", all(verdict.color_of(words.shape) == words.color for words in things)
        across = verdict.places[things[0].shape] - verdict.places[things[1].shape]
        both = all(verdict.color_of(words.shape) for words in things)
        yield "left / right of", both and (across < 0) == (facts.relation == "left of")


def shares(marks: Iterator[Score] | list[Score]) -> dict[str, float]:
    """Per cent of True, by name."""
    found: dict[str, list[bool]] = defaultdict(list)
    for name, right in marks:
        found[name].append(right)
    return {name: 100 * sum(values) / len(values) for name, values in found.items()}


@torch.inference_mode()
def autoencoded(model: Model, pictures: Tensor, batch: int = 25) -> Tensor:
    """Pictures (b 3 h w) through encoder (mode) and decoder, float32."""
    decoded = [
        model.loaded.vae.decode(model.loaded.vae.encode(part).mode()).clamp(-1, 1) for part in pictures.split(batch)
    ]
    return torch.cat(decoded)


def psnr(pictures: Tensor, decoded: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio, in dB; values in -1..1."""
    error = ((pictures - decoded) / 2).square().mean((1, 2, 3))
    return float((-10 * error.log10()).mean())


def judge_accuracy(model: Model, judge: Judge, count: int) -> tuple[dict[str, float], float]:
    """Per cent right by question on fresh renders passed through the autoencoder, and the PSNR of those renders."""
    fresh = fresh_lesson(HELD_OUT, count)
    decoded = autoencoded(model, fresh.pictures)
    marks: list[Score] = []
    for row, verdict in enumerate(judge_pictures(judge, decoded)):
        for name in QUESTIONS:
            label = int(fresh.labels[name][row])
            question = "shape" if name in SHAPES else "object colour" if name.endswith(" color") else name
            if label != NOTHING:
                marks.append((question, verdict.answers[name] == label))
    return shares(marks), psnr(fresh.pictures, decoded)


def drawn(model: Model, asked: list[Facts], steps: int, cfg_scale: float, batch: int = 50) -> Tensor:
    """A picture of each prompt (b 3 h w)."""
    parts = [asked[start : start + batch] for start in range(0, len(asked), batch)]
    captions = [[full_caption(facts) for facts in part] for part in parts]
    return torch.cat([model.draw(part, seed, steps, cfg_scale) for seed, part in enumerate(captions)])


def main() -> None:
    """Prints the table of the model card, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--runs", type=Path, default=Runs().root, help="where the judge is kept")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--grid", type=Path, help="also writes the pictures here, as one PNG")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    model, asked = load_model(options.checkpoint), prompts(options.count)
    runs = Runs(options.runs)
    judge = trained_judge(runs.judge, runs.data)
    accuracy, quality = judge_accuracy(model, judge, options.count)
    pictures = drawn(model, asked, options.steps, options.cfg_scale)
    verdicts = judge_pictures(judge, pictures)
    right = shares([mark for facts, verdict in zip(asked, verdicts, strict=True) for mark in scores(facts, verdict)])
    lines = [f"| autoencoder PSNR | {quality:.1f} dB |"]
    lines += [f"| {name} | {value:.0f} % |" for name, value in right.items()]
    lines += [f"| judge: {name} | {value:.1f} % |" for name, value in accuracy.items()]
    print("\n".join(lines))
    if options.grid:
        grid(pictures, 20).save(options.grid)


if __name__ == "__main__":
    main()
