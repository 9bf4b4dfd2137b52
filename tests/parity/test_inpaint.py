"""Inpainting with ordinary models, of four channels, against diffusers' pipelines on the same weights."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

from tests.nn.weights import relative_error
from tests.parity.pipelines import SAMPLERS, Case, case_of, our_latents, source, their_init
from tests.parity.test_pipelines import FIELDS, HEIGHT, STRENGTH, WIDTH, picture, theirs
from webui.pipeline.inpaint import inpaint
from webui.pipeline.tensors import image_to_tensor
from webui.schema.requests import ImageRef, Inpaint

TOLERANCE = 1e-3
REF = ImageRef(sha256="0" * 64)


@pytest.fixture(scope="module", params=["sd15", "sd21", "sdxl"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """SD 1.x, SD 2.x (v-prediction) and SDXL."""
    return case_of(request.param, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ordinary_models_repaint_as_diffusers_does(case: Case, sampler: str) -> None:
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (16, 8, 64, 48))
    request = Inpaint(
        **FIELDS, init_image=REF, mask=REF, mask_blur=0, denoising_strength=STRENGTH, sampler=sampler,
        scheduler=SAMPLERS[sampler],
    )  # fmt: skip
    (ours,) = our_latents(inpaint(request, case.facts, source(), picture(), mask), case.executor)
    init = their_init(case, image_to_tensor(picture()))
    expected = theirs(
        case, request, StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline, image=init, mask_image=mask,
        masked_image_latents=torch.zeros_like(init), strength=0.6, width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
    assert relative_error(ours, init) > 0.1
