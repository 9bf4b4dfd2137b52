"""SDXL's refiner, by itself and after SDXL, against diffusers' pipelines on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
from diffusers import StableDiffusionXLImg2ImgPipeline

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
from tests.parity.test_pipelines import FIELDS, STRENGTH, TOLERANCE, picture
from webui.pipeline.img2img import img2img
from webui.pipeline.tensors import image_to_tensor
from webui.schema.requests import ImageRef, Img2Img, Request


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of("sdxl-refiner", tmp_path_factory.mktemp("models"))


def refining(refiner: Case, request: Request, **given: Any) -> Any:
    """diffusers' pipeline of the refiner, with the settings of its `model_index.json`."""
    made = StableDiffusionXLImg2ImgPipeline(
        **{"text_encoder": None, "tokenizer": None, **parts(refiner)}, scheduler=scheduler_of(request, refiner),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip
    return quiet(made)(
        prompt=request.prompt, negative_prompt=request.negative_prompt, num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale, generator=generator(), output_type="latent", **given,
    ).images  # fmt: skip


@pytest.mark.parametrize("negative", ["blue cat", ""])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_refiner_redraws_a_picture_as_diffusers_does(refiner: Case, sampler: str, negative: str) -> None:
    fields = {**FIELDS, "negative_prompt": negative, "sampler": sampler, "scheduler": SAMPLERS[sampler]}
    request = Img2Img(**fields, denoising_strength=STRENGTH, init_image=ImageRef(sha256="0" * 64))
    (ours,) = our_latents(img2img(request, refiner.facts, source(), picture()), refiner.executor)
    expected = refining(refiner, request, image=their_init(refiner, image_to_tensor(picture())), strength=0.6)
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1
