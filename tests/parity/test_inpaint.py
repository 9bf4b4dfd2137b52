"""Inpainting with ordinary models, of four channels, against diffusers' pipelines on the same weights."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline

from tests.nn.weights import relative_error
from tests.parity.pipelines import (
    FIELDS,
    HEIGHT,
    REF,
    STRENGTH,
    THEIR_STRENGTH,
    WIDTH,
    Case,
    mask,
    our_latents,
    picture,
    pipeline_of,
    source,
    their_init,
    their_latents,
    their_scheduler,
)
from tests.parity.schedulers import SAMPLERS
from webui.pipeline.inpaint import inpaint
from webui.pipeline.tensors import image_to_tensor
from webui.schema.requests import Inpaint

TOLERANCE = 1e-3
REPAINTS = (StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ordinary_models_repaint_as_diffusers_does(case: Case, sampler: str) -> None:
    request = Inpaint(
        **FIELDS, init_image=REF, mask=REF, mask_blur=0, denoising_strength=STRENGTH, sampler=sampler,
        scheduler=SAMPLERS[sampler],
    )  # fmt: skip
    (ours,) = our_latents(inpaint(request, case.facts, source(), picture(), mask()), case.executor)
    init = their_init(case, image_to_tensor(picture()))
    expected = their_latents(
        pipeline_of(case, their_scheduler(request, case), *REPAINTS), request, image=init, mask_image=mask(),
        masked_image_latents=torch.zeros_like(init), strength=THEIR_STRENGTH, width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
    assert relative_error(ours, init) > 0.1
