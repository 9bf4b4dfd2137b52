"""Makes the sample pictures of the README: `python docs/pictures.py` writes docs/images/{samples,inpaint}.png.

They are what the model that ships draws, first seeds, nothing chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from webui import Img2Img, Inpaint, Pipeline, Txt2Img

IMAGES = Path(__file__).parent / "images"
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
SETTINGS = {"steps": 20, "cfg_scale": 5.0}


def samples(pipe: Pipeline, seeds: Sequence[int] = (1, 2)) -> Image.Image:
    """A column for each prompt, a row for each seed."""
    columns = [
        [pipe.generate(Txt2Img(prompt=prompt, seed=seed, **SETTINGS)).images[0].image for seed in seeds]
        for prompt in PROMPTS
    ]
    return grid([[column[row] for column in columns] for row in range(len(seeds))])


def repainting(pipe: Pipeline) -> Image.Image:
    """A picture, its mask, the masked part drawn anew, and the whole picture drawn anew at half strength."""
    first = pipe.generate(Txt2Img(prompt=PROMPTS[0], seed=1, **SETTINGS)).images[0].image
    mask = Image.new("L", first.size, 0)
    ImageDraw.Draw(mask).rectangle((0, first.height // 3, first.width, first.height), fill=255)
    ref, mask_ref = pipe.add_image(first), pipe.add_image(mask)
    prompt = "a big yellow cone on a green floor, blue sky"
    repainted = Inpaint(prompt=prompt, init_image=ref, mask=mask_ref, denoising_strength=1.0, seed=2, **SETTINGS)
    redrawn = Img2Img(
        prompt="a big blue ball on a pink floor, blue sky", init_image=ref, denoising_strength=0.8, seed=2, **SETTINGS
    )
    made = [pipe.generate(request).images[0].image for request in (repainted, redrawn)]
    return grid([[first, mask.convert("RGB"), *made]])


def grid(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures of one size in rows, a little apart."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * (width + GAP), y * (height + GAP)))
    return sheet


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    pipe = Pipeline.load(models_dir=Path(__file__).parent.parent / "models")
    samples(pipe).save(IMAGES / "samples.png", optimize=True)
    repainting(pipe).save(IMAGES / "inpaint.png", optimize=True)


if __name__ == "__main__":
    main()
