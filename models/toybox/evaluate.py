"""Measures a checkpoint, or a run, on 200 prompts that no training saw: `python -m models.toybox.evaluate`.

A figure counts only where its judge is right on perfect pictures: scenes rendered from such prompts and passed through
the autoencoder. Both are printed. The judges are trained first where there are none yet, which takes some minutes.
"""

import argparse
import logging
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.data import HELD_OUT
from models.toybox.export import CHECKPOINT, export
from models.toybox.judges import Judges, Thing, Verdict, judge
from models.toybox.lessons import autoencoded
from models.toybox.render import render
from models.toybox.sample import Model, grid, load_model
from models.toybox.train_judges import trained_judges
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
    Scene,
    ThingWords,
    build_scene,
    full_caption,
    relations_of,
)

RENDERED = 400  # perfect pictures on which the judges are judged

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


def scene_like(facts: Facts, rng: random.Random) -> Scene:
    """A scene of which the facts are true."""
    while True:
        scene = build_scene(facts, rng)
        told = relations_of(scene)
        told += [(second, RELATIONS[word], first) for first, word, second in told]
        if facts.relation is None or (0, facts.relation, 1) in told:
            return scene


def scores(facts: Facts, verdict: Verdict) -> Iterator[Score]:
    """What is right in the picture of a prompt."""
    yield "floor", verdict.floor == facts.floor
    yield "sky", verdict.sky == facts.sky
    first = facts.subjects[0]
    if isinstance(first, PersonWords):
        seen = verdict.people[:1]
        yield "person seen", bool(seen)
        yield "shirt colour", any(person.shirt == first.shirt for person in seen)
        yield "pants colour", any(person.pants == first.pants for person in seen)
        yield "pose", any(person.pose == first.pose for person in seen)
        return
    asked = [words for words in facts.subjects if isinstance(words, ThingWords)]
    things = matched(asked, verdict.things)
    pairs = list(zip(asked, things, strict=False))
    if len(asked) == 1:
        yield "object colour", any(thing.color == words.color for words, thing in pairs)
        yield "object shape", any(thing.shape == words.shape for words, thing in pairs)
    else:
        yield "two objects, colours bound", bool(pairs) and all(agreement(*pair) == 2 for pair in pairs)
        ordered = bool(pairs) and (things[0].x < things[1].x) == (facts.relation == "left of")
        yield "left / right of", ordered and all(agreement(*pair) for pair in pairs)


def agreement(words: ThingWords, thing: Thing) -> int:
    """How many of shape and colour are as asked."""
    return (thing.shape == words.shape) + (thing.color == words.color)


def matched(asked: Sequence[ThingWords], seen: Sequence[Thing]) -> tuple[Thing, ...]:
    """For each object asked for the one meant by it: of the surest seen, as many as asked, in the likeliest order."""

    def likeness(order: Sequence[Thing]) -> tuple[int, int]:
        """Words in common; where two orders have as many, shapes decide."""
        pairs = list(zip(asked, order, strict=True))
        return sum(agreement(*pair) for pair in pairs), sum(words.shape == thing.shape for words, thing in pairs)

    return max(permutations(seen[: len(asked)], len(asked)), key=likeness, default=())


def shares(marks: Iterable[Score]) -> dict[str, float]:
    """Per cent of True, by name."""
    found: dict[str, list[bool]] = defaultdict(list)
    for name, right in marks:
        found[name].append(right)
    return {name: 100 * sum(values) / len(values) for name, values in found.items()}


def judged(judges: Judges, asked: Sequence[Facts], pictures: Tensor) -> dict[str, float]:
    """Per cent right of each figure; pictures: (b 3 h w), one for each prompt."""
    verdicts = judge(judges, pictures)
    return shares(mark for facts, seen in zip(asked, verdicts, strict=True) for mark in scores(facts, seen))


def psnr(pictures: Tensor, decoded: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio, in dB; values in -1..1."""
    error = ((pictures - decoded) / 2).square().mean((1, 2, 3))
    return float((-10 * error.log10()).mean())


def rendered(asked: Sequence[Facts]) -> Tensor:
    """Perfect pictures of the prompts (b 3 h w) in -1..1."""
    rng = random.Random(HELD_OUT)
    images = np.stack([render(scene_like(facts, rng)).image for facts in asked])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawn(model: Model, asked: list[Facts], steps: int, cfg_scale: float, batch: int = 50) -> Tensor:
    """A picture of each prompt (b 3 h w)."""
    parts = [asked[start : start + batch] for start in range(0, len(asked), batch)]
    captions = [[full_caption(facts) for facts in part] for part in parts]
    return torch.cat([model.draw(part, seed, steps, cfg_scale) for seed, part in enumerate(captions)])


def read_model(path: Path) -> Model:
    """The model in a checkpoint file, or the one that the folder of a run holds so far."""
    if not path.is_dir():
        return load_model(path)
    with tempfile.TemporaryDirectory() as folder:
        export(Runs(path), Path(folder) / "run.safetensors")
        return load_model(Path(folder) / "run.safetensors")


def main() -> None:
    """Prints the table of the model card, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=CHECKPOINT, help="a checkpoint, or the folder of a run")
    parser.add_argument("--runs", type=Path, default=Runs().root, help="where the judges are kept")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--grid", type=Path, help="also writes the pictures here, as one PNG")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    model = read_model(options.model)
    judges = trained_judges(Runs(options.runs), model.loaded.vae)
    perfect = rendered(told := prompts(RENDERED, HELD_OUT + 1))
    decoded = autoencoded(model.loaded.vae, perfect)
    pictures = drawn(model, asked := prompts(options.count), options.steps, options.cfg_scale)
    lines = [f"| autoencoder PSNR | {psnr(perfect, decoded):.1f} dB |"]
    lines += [f"| {name} | {value:.0f} % |" for name, value in judged(judges, asked, pictures).items()]
    lines += [f"| judge: {name} | {value:.1f} % |" for name, value in judged(judges, told, decoded).items()]
    print("\n".join(lines))
    if options.grid:
        grid(pictures, 20).save(options.grid)


if __name__ == "__main__":
    main()
