"""Measures region prompts on 24 held-out prompts of two objects: `python -m models.toybox.evaluate_regions`.

Each prompt is drawn by itself and, from the same seed, with a region for each object on the side that the prompt gives
it, by the program as the page asks it. Beside it stand scenes rendered from the prompts and passed through the
autoencoder: what the judges make of perfect pictures.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.evaluate import judged, prompts, rendered
from models.toybox.export import CHECKPOINT
from models.toybox.lessons import autoencoded
from models.toybox.sample import grid, load_model
from models.toybox.train_judges import trained_judges
from models.toybox.world import Facts, full_caption
from webui import Pipeline, Txt2Img

SIDES = {"left of": ("left", "right"), "right of": ("right", "left")}
"""Where the first and the second object are, by what the prompt says of the first."""
MODES = ("attention", "latent")


def two_objects(count: int) -> list[Facts]:
    """The first prompts of `evaluate.prompts` that have two objects."""
    tens = -(-count // 3)  # three of every ten have
    return [facts for facts in prompts(10 * tens) if facts.relation][:count]


def regions_of(facts: Facts) -> str:
    """A line for each object: its side, and a prompt of it alone before the same floor and sky."""
    alone = [full_caption(replace(facts, subjects=(words,), relation=None)) for words in facts.subjects]
    return "\n".join(f"{side}: {text}" for side, text in zip(SIDES[facts.relation or ""], alone, strict=True))


def request_of(facts: Facts, seed: int, mode: str | None) -> Txt2Img:
    """The prompt with regions laid together by `mode`, or alone."""
    regions = {"regions": {"regions": regions_of(facts), "mode": mode}} if mode else {}
    return Txt2Img(prompt=full_caption(facts), seed=seed, steps=20, cfg_scale=4.0, ext=regions)


def drawn(pipe: Pipeline, asked: Sequence[Facts], mode: str | None) -> Tensor:
    """A picture of each prompt (n 3 h w) in -1..1; the seeds are the numbers of the prompts."""
    made = [pipe.generate(request_of(facts, seed, mode)).images[0].image for seed, facts in enumerate(asked)]
    return tensor_of(made)


def tensor_of(images: Sequence[Image.Image]) -> Tensor:
    """(n 3 h w) in -1..1."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 127.5 - 1


def table(columns: Sequence[dict[str, float]]) -> list[str]:
    """Lines of Markdown: a row for each figure, in per cent."""
    return [f"| {name} | " + " | ".join(f"{column[name]:.0f} %" for column in columns) + " |" for name in columns[0]]


def main() -> None:
    """Prints the table of extensions/regions/README.md, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Runs().root, help="where the judges are kept")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--grid", type=Path, help="also writes the pictures here, as one PNG, a row for each column")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    vae = load_model(CHECKPOINT).loaded.vae
    judges = trained_judges(Runs(options.runs), vae)
    pipe = Pipeline.load(CHECKPOINT.stem, models_dir=CHECKPOINT.parents[1], device="cpu")
    asked = two_objects(options.count)
    columns = [drawn(pipe, asked, mode) for mode in (None, *MODES)] + [autoencoded(vae, rendered(asked))]
    print("| | without regions | " + " | ".join(MODES) + " | perfect pictures |\n|---|---|---|---|---|")
    print("\n".join(table([judged(judges, asked, pictures) for pictures in columns])))
    if options.grid:
        grid(torch.cat(columns), options.count).save(options.grid)


if __name__ == "__main__":
    main()
