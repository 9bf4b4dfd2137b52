"""txt2img and img2img from the words to the latent, against diffusers' pipelines on the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from tests.nn.weights import relative_error
from tests.parity.pipelines import (
    SAMPLERS,
    Case,
    case_of,
    generator,
    our_latents,
    parts,
    quiet,
    scheduler_of,
    source,
    their_init,
)
from webui.pipeline.img2img import img2img
from webui.pipeline.tensors import image_to_tensor
from webui.pipeline.txt2img import txt2img
from webui.schema.requests import ImageRef, Img2Img, Request, Txt2Img

TOLERANCE = 1e-4
WIDTH, HEIGHT = 96, 64
WORDS: dict[str, Any] = {"prompt": "a photo of a red ball", "negative_prompt": "blue cat"}
FIELDS: dict[str, Any] = {**WORDS, "steps": 10, "cfg_scale": 5.0, "width": WIDTH, "height": HEIGHT}
STRENGTH = 0.55
"""Ours runs int(10 * 0.55) + 1 = 6 of 10 steps, diffusers int(10 * 0.6)."""


@pytest.fixture(scope="module", params=["sd15", "sd21", "sdxl"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """SD 1.x, SD 2.x (v-prediction) and SDXL."""
    return case_of(request.param, tmp_path_factory.mktemp("models"))


def picture() -> Image.Image:
    blocks = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def theirs(case: Case, request: Request, one: type, xl: type, **given: Any) -> torch.Tensor:
    """The latents (1 c h w) of diffusers' pipeline: `xl` for SDXL, else `one`."""
    models: dict[str, Any] = {**parts(case), "scheduler": scheduler_of(request, case)}
    if case.facts.config.family == "sdxl":
        made = xl(**models, add_watermarker=False)
    else:
        made = one(**models, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    prompts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt or None}
    found: torch.Tensor = quiet(made)(
        **prompts, num_inference_steps=request.steps, guidance_scale=request.cfg_scale, generator=generator(),
        output_type="latent", **given,
    ).images  # fmt: skip
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_txt2img_comes_to_the_latents_of_diffusers(case: Case, sampler: str) -> None:
    request = Txt2Img(**FIELDS, sampler=sampler, scheduler=SAMPLERS[sampler])
    (ours,) = our_latents(txt2img(request, case.facts, source()), case.executor)
    expected = theirs(
        case, request, StableDiffusionPipeline, StableDiffusionXLPipeline, width=WIDTH, height=HEIGHT
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_img2img_comes_to_the_latents_of_diffusers(case: Case, sampler: str) -> None:
    fields = {**FIELDS, "sampler": sampler, "scheduler": SAMPLERS[sampler], "denoising_strength": STRENGTH}
    request = Img2Img(**fields, init_image=ImageRef(sha256="0" * 64))
    (ours,) = our_latents(img2img(request, case.facts, source(), picture()), case.executor)
    expected = theirs(
        case, request, StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline,
        image=their_init(case, image_to_tensor(picture())), strength=0.6,
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1


def test_no_negative_prompt_is_what_it_is_to_diffusers(case: Case) -> None:
    request = Txt2Img(**{**FIELDS, "negative_prompt": ""}, sampler="Euler")
    (ours,) = our_latents(txt2img(request, case.facts, source()), case.executor)
    expected = theirs(
        case, request, StableDiffusionPipeline, StableDiffusionXLPipeline, width=WIDTH, height=HEIGHT
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
