"""A hires pass with prompts, sampler, schedule and guidance of its own, from the request to the pixels and the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.test_networks import write_lora
from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.images.form import parse, read_form
from webui.schema.errors import NotFound
from webui.schema.requests import Img2Img, Request, Txt2Img

FIRST: dict[str, Any] = {
    "prompt": "a red ball", "negative_prompt": "blurry", "seed": 5, "width": 64, "height": 48, "sampler": "Euler",
    "scheduler": "Karras", "steps": 4, "cfg_scale": 5.0,
}  # fmt: skip
HIRES = {**FIRST, "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "denoising_strength": 0.7}
OWN = {
    "prompt": "hr_prompt", "negative_prompt": "hr_negative_prompt", "sampler": "hr_sampler_name",
    "scheduler": "hr_scheduler", "cfg_scale": "hr_cfg",
}  # fmt: skip
"""Field of a request -> that of the hires pass in its place."""


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root = tmp_path_factory.mktemp("root")
    checkpoint = root / "models" / "Stable-diffusion" / "tiny.safetensors"
    write_tiny_checkpoint(checkpoint)
    for seed, name in enumerate("ab"):
        write_lora(root / "models" / "Lora" / f"{name}.safetensors", checkpoint, seed)
    (root / "styles.csv").write_text("name,prompt,negative_prompt\nInk,ink {prompt},photo\n", encoding="utf-8")
    return Pipeline.load("tiny", models_dir=root / "models", device="cpu")


def pixels(pipe: Pipeline, request: Request) -> np.ndarray:
    return np.asarray(pipe.generate(request).images[0].image)


def by_hand(pipe: Pipeline, first: dict[str, Any], second: dict[str, Any]) -> np.ndarray:
    """The first pass alone, and what img2img makes of its picture with the values of the second."""
    picture = pipe.add_image(Image.fromarray(pixels(pipe, Txt2Img(**{**FIRST, **first}))))
    redrawn = {**FIRST, **first, "width": 96, "height": 72, "denoising_strength": 0.7, **second}
    return pixels(pipe, Img2Img(init_image=picture, **redrawn))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"prompt": "a green cube"}),
        ({}, {"negative_prompt": "dark"}),
        ({}, {"sampler": "DPM++ 2M SDE"}),
        ({}, {"sampler": "DPM adaptive"}),
        ({}, {"scheduler": "Exponential"}),
        ({"scheduler": "Automatic"}, {"sampler": "DPM++ 3M SDE"}),
        ({}, {"sampler": "DDIM", "scheduler": "Automatic"}),
        ({"eta": 0.5}, {"sampler": "Euler a"}),
        ({"clip_skip": 2, "emphasis": "No norm"}, {"prompt": "a (green:1.4) cube"}),
        ({}, {"cfg_scale": 1.0}),
        ({"sampler": "DDIM CFG++"}, {"sampler": "Heun", "cfg_scale": 3.0}),
        ({"prompt": "<lora:a:1> ball"}, {"prompt": "<lora:b:0.7> ball"}),
        ({"prompt": "<lora:a:1> ball"}, {"prompt": "ball"}),
        ({}, {"prompt": "red AND green:0.5", "negative_prompt": "x", "sampler": "LMS", "cfg_scale": 9.0}),
    ],
)
def test_the_second_pass_draws_what_img2img_draws_with_its_values(
    pipe: Pipeline, first: dict[str, Any], second: dict[str, Any]
) -> None:
    own = {OWN[field]: value for field, value in second.items()}
    drawn = pixels(pipe, Txt2Img(**{**HIRES, **first, **own}))
    assert np.array_equal(drawn, by_hand(pipe, first, second))
    assert not np.array_equal(drawn, pixels(pipe, Txt2Img(**{**HIRES, **first})))


def test_what_changes_over_the_steps_has_the_clock_of_the_second_pass(pipe: Pipeline) -> None:
    drawn = pixels(pipe, Txt2Img(**HIRES, hr_steps=10, hr_prompt="a [red:green:1.5] ball"))
    assert np.array_equal(drawn, by_hand(pipe, {}, {"prompt": "a [red:green:0.5] ball", "steps": 10}))


def test_without_a_hires_pass_its_values_have_no_say(pipe: Pipeline) -> None:
    own = {"hr_prompt": "<lora:gone:1> __gone__", "hr_sampler_name": "DDIM", "hr_cfg": 2.0}
    made, plain = (pipe.generate(Txt2Img(**FIRST, **more)).images[0] for more in (own, {}))
    assert (made.image.tobytes(), made.infotext) == (plain.image.tobytes(), plain.infotext)


def test_all_that_is_not_said_is_as_in_the_first_pass(pipe: Pipeline) -> None:
    said = {own: FIRST[field] for field, own in OWN.items()}
    assert np.array_equal(pixels(pipe, Txt2Img(**HIRES)), pixels(pipe, Txt2Img(**{**HIRES, **said})))


def test_choices_and_styles_of_both_prompts_are_made_alike(pipe: Pipeline) -> None:
    fields = {**HIRES, "prompt": "{a|b|c|d} ball", "hr_prompt": "{a|b|c|d} ball, fine", "styles": ("Ink",)}
    (image,) = pipe.generate(Txt2Img(**fields)).images
    text = parse(image.infotext)
    assert text.fields["Hires prompt"] == f"{text.prompt}, fine"
    assert text.prompt.startswith("ink ")
    assert (text.fields["Template"], text.fields["Hires Template"]) == (fields["prompt"], fields["hr_prompt"])
    assert "Hires negative prompt" not in text.fields
    written = read_form(image.infotext).values
    again = {name: written[name] for name in ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")}
    assert np.array_equal(np.asarray(image.image), pixels(pipe, Txt2Img(**{**HIRES, **again})))


def test_the_files_of_both_passes_stand_in_the_text(pipe: Pipeline) -> None:
    fields = {**HIRES, "prompt": "<lora:a:1> ball", "hr_prompt": "<lora:b:1> ball"}
    hashes = parse(pipe.generate(Txt2Img(**fields)).images[0].infotext).fields["Lora hashes"]
    assert [pair.split(":")[0].strip() for pair in hashes.split(",")] == ["a", "b"]


def test_a_hires_prompt_without_the_networks_of_the_prompt_is_told(pipe: Pipeline) -> None:
    notes = pipe.generate(Txt2Img(**{**HIRES, "prompt": "<lora:a:1> ball", "hr_prompt": "ball"})).notes
    assert any("names no networks" in note for note in notes)


def test_networks_and_wildcards_of_the_hires_prompt_have_to_be_there(pipe: Pipeline) -> None:
    for prompt in ("<lora:gone:1> ball", "__gone__ ball"):
        with pytest.raises(NotFound, match="gone"):
            pipe.generate(Txt2Img(**HIRES, hr_prompt=prompt))


def test_the_hires_pass_of_each_picture_of_a_batch_has_its_own_choices(pipe: Pipeline) -> None:
    fields = {**HIRES, "hr_prompt": "{a|b|c|d|e|f} ball", "hr_sampler_name": "Euler a"}
    both = pipe.generate(Txt2Img(**{**fields, "batch_size": 2})).images
    for index, image in enumerate(both):
        alone = pipe.generate(Txt2Img(**{**fields, "seed": 5 + index})).images[0]
        assert parse(alone.infotext).fields["Hires prompt"] == parse(image.infotext).fields["Hires prompt"]
        assert np.abs(np.asarray(alone.image, int) - np.asarray(image.image, int)).max() <= 1
