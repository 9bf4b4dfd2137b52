"""Makes the pictures of README.md and docs/toybox.md: `python -m docs.pictures` writes them into docs/images,
and the preview of the model's card beside it.

They are what the model that ships draws through the Python API, first seeds, nothing chosen, but for the pictures that
`control` begins with and the card: whole things, so that their maps show what was meant. Names of single pictures may
follow (`python -m docs.pictures cfg walk`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from webui import ControlUnit, Img2Img, Inpaint, Pipeline, Txt2Img

IMAGES = Path(__file__).parent / "images"
MODELS = Path(__file__).parent.parent / "models"
PREVIEW = MODELS / "Stable-diffusion" / "toybox.preview.png"
GAP = 4
PROMPTS = (
    "a big red ball on a green floor, blue sky",
    "a small blue cube on a white floor, orange sky",
    "a big yellow cone on a gray floor, black sky",
    "a big purple ring on a pink floor, white sky",
    "a big orange cylinder on a blue floor, white sky",
    "a person in a red shirt and blue pants waving on a green floor, blue sky",
    "a person in a yellow shirt and black pants raising both arms on a blue floor, orange sky",
    "a big green ball and a small red cube on a yellow floor, blue sky",
)
THING, PERSON = PROMPTS[0], PROMPTS[5]
# preprocessor, model, prompt and seed of the picture whose map is made, and three prompts for that map
STEERED = (
    ("canny", "toybox-canny", PROMPTS[2], 1, (
        "a big red cone on a blue floor, white sky", "a big green cone on a white floor, orange sky",
        "a big blue cone on a yellow floor, blue sky",
    )),
    ("toybox_depth", "toybox-depth", PROMPTS[4], 2, (
        "a big red cylinder on a gray floor, blue sky", "a big green cylinder on a yellow floor, orange sky",
        "a big purple cylinder on a white floor, blue sky",
    )),
    ("toybox_pose", "toybox-pose", PROMPTS[6], 3, (
        "a person in a red shirt and blue pants on a green floor, blue sky",
        "a person in a blue shirt and red pants on a yellow floor, orange sky",
        "a person in a green shirt and purple pants on a pink floor, white sky",
    )),
)  # fmt: skip
SETTINGS = {"steps": 20, "cfg_scale": 4.0}
Row = list[Image.Image]


def draw(pipe: Pipeline, prompt: str, seed: int = 1, **changes: Any) -> Image.Image:
    """One picture at the settings of this page, some of them changed."""
    return pipe.generate(Txt2Img(prompt=prompt, seed=seed, **SETTINGS | changes)).images[0].image


def samples(pipe: Pipeline) -> list[Row]:
    """A column for each prompt, a row for each of two seeds."""
    return [[draw(pipe, prompt, seed) for prompt in PROMPTS] for seed in (1, 2)]


def card(pipe: Pipeline) -> list[Row]:
    """What the model's card shows: a ball, and the whole things that `control` begins with."""
    steered = [draw(pipe, prompt, seed) for _preprocessor, _model, prompt, seed, _others in STEERED]
    return [[draw(pipe, THING, 2), steered[2]], steered[:2]]


def img2img(pipe: Pipeline) -> list[Row]:
    """A picture, and what another prompt makes of it at growing denoising strength."""
    first = draw(pipe, THING)
    ref = pipe.add_image(first)
    prompt = "a big blue ball on a pink floor, blue sky"
    asked = [
        Img2Img(prompt=prompt, init_image=ref, denoising_strength=strength, seed=2, **SETTINGS)
        for strength in (0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    return [[first, *(pipe.generate(request).images[0].image for request in asked)]]


def inpaint(pipe: Pipeline) -> list[Row]:
    """A picture, the mask, and the white part of it drawn anew with three other prompts."""
    first = draw(pipe, THING)
    mask = Image.new("L", first.size, 0)
    ImageDraw.Draw(mask).rectangle((0, first.height // 3, first.width, first.height), fill=255)
    ref, mask_ref = pipe.add_image(first), pipe.add_image(mask)
    prompts = (
        "a big yellow cone on a green floor, blue sky",
        "a small black cube on a green floor, blue sky",
        "a big purple ring on a pink floor, blue sky",
    )
    asked = [
        Inpaint(prompt=prompt, init_image=ref, mask=mask_ref, denoising_strength=1.0, seed=2, **SETTINGS)
        for prompt in prompts
    ]
    return [[first, mask.convert("RGB"), *(pipe.generate(request).images[0].image for request in asked)]]


def cfg(pipe: Pipeline) -> list[Row]:
    """CFG scale 1, 4, 7, 15 from left to right."""
    return [[draw(pipe, prompt, cfg_scale=scale) for scale in (1.0, 4.0, 7.0, 15.0)] for prompt in (THING, PERSON)]


def ddim(pipe: Pipeline) -> list[Row]:
    """DDIM with 5, 10, 20, 50 steps from left to right."""
    return [
        [draw(pipe, prompt, sampler="DDIM", steps=steps) for steps in (5, 10, 20, 50)] for prompt in (THING, PERSON)
    ]


def walk(pipe: Pipeline) -> list[Row]:
    """From seed 1 to seed 2: variation strength 0, 0.2, ... 1."""
    strengths = [step / 5 for step in range(6)]
    return [[draw(pipe, prompt, subseed=2, subseed_strength=part) for part in strengths] for prompt in (THING, PERSON)]


def regions(pipe: Pipeline) -> list[Row]:
    """Seeds 1 to 6: the prompt alone, with regions by attention, and with regions by latents."""
    prompt = "a big red ball left of a small blue cube on a green floor, blue sky"
    halves = "left: a big red ball on a green floor, blue sky\nright: a small blue cube on a green floor, blue sky"
    modes = ({}, *({"ext": {"regions": {"regions": halves, "mode": mode}}} for mode in ("attention", "latent")))
    return [[draw(pipe, prompt, seed, **mode) for seed in range(1, 7)] for mode in modes]


def control(pipe: Pipeline) -> list[Row]:
    """A picture, its map, and what three other prompts make of the map: Canny edges, depth, pose."""
    rows = []
    for preprocessor, model, prompt, seed, others in STEERED:
        first = draw(pipe, prompt, seed)
        unit = ControlUnit(image=pipe.add_image(first), preprocessor=preprocessor, resolution=128, model=model)
        made = [pipe.generate(Txt2Img(prompt=other, seed=2, control=(unit,), **SETTINGS)) for other in others]
        rows.append([first, made[0].maps[1], *(each.images[0].image for each in made)])
    return rows


PICTURES: dict[str, Callable[[Pipeline], list[Row]]] = {
    "samples": samples,
    "card": card,
    "img2img": img2img,
    "inpaint": inpaint,
    "cfg": cfg,
    "ddim": ddim,
    "walk": walk,
    "regions": regions,
    "control": control,
}


def grid(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures of one size in rows, a little apart."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * (width + GAP), y * (height + GAP)))
    return sheet


def main(names: Iterable[str], images: Path = IMAGES) -> None:
    images.mkdir(exist_ok=True)
    pipe = Pipeline.load(models_dir=MODELS)
    for name in names:
        grid(PICTURES[name](pipe)).save(PREVIEW if name == "card" else images / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:] or PICTURES)
