"""txt2img and img2img from the words to the latent, against diffusers' pipelines on the same weights."""

from __future__ import annotations

import pytest
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)

from tests.nn.weights import relative_error
from tests.parity.pipelines import (
    FIELDS,
    HEIGHT,
    REF,
    STRENGTH,
    THEIR_STRENGTH,
    WIDTH,
    Case,
    our_latents,
    picture,
    pipeline_of,
    source,
    their_init,
    their_latents,
    their_scheduler,
)
from tests.parity.schedulers import SAMPLERS
from webui.pipeline.img2img import img2img
from webui.pipeline.tensors import image_to_tensor
from webui.pipeline.txt2img import txt2img
from webui.schema.requests import Img2Img, Txt2Img

TOLERANCE = 1e-4
DRAWS = (StableDiffusionPipeline, StableDiffusionXLPipeline)
REDRAWS = (StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_txt2img_comes_to_the_latents_of_diffusers(case: Case, sampler: str) -> None:
    request = Txt2Img(**FIELDS, sampler=sampler, scheduler=SAMPLERS[sampler])
    (ours,) = our_latents(txt2img(request, case.facts, source()), case.executor)
    made = pipeline_of(case, their_scheduler(request, case), *DRAWS)
    expected = their_latents(made, request, width=WIDTH, height=HEIGHT)
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_img2img_comes_to_the_latents_of_diffusers(case: Case, sampler: str) -> None:
    fields = {**FIELDS, "sampler": sampler, "scheduler": SAMPLERS[sampler], "denoising_strength": STRENGTH}
    request = Img2Img(**fields, init_image=REF)
    (ours,) = our_latents(img2img(request, case.facts, source(), picture()), case.executor)
    made = pipeline_of(case, their_scheduler(request, case), *REDRAWS)
    init = their_init(case, image_to_tensor(picture()))
    expected = their_latents(made, request, image=init, strength=THEIR_STRENGTH)
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1


def test_no_negative_prompt_is_what_it_is_to_diffusers(case: Case) -> None:
    request = Txt2Img(**{**FIELDS, "negative_prompt": ""}, sampler="Euler")
    (ours,) = our_latents(txt2img(request, case.facts, source()), case.executor)
    made = pipeline_of(case, their_scheduler(request, case), *DRAWS)
    expected = their_latents(made, request, width=WIDTH, height=HEIGHT)
    assert relative_error(ours, expected) < TOLERANCE
