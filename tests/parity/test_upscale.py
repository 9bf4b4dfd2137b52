"""The x4 upscaler against diffusers' pipeline on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionUpscalePipeline
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale
from PIL import Image
from torch import Tensor

from tests.nn.weights import relative_error
from tests.parity.pipelines import SAMPLERS, Case, case_of, our_latents, parts, quiet, scheduler_of, source
from tests.parity.test_pipelines import FIELDS, HEIGHT, WIDTH, WORDS, picture
from webui.pipeline.upscale import upscale
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img

TOLERANCE = 1e-3
REF = ImageRef(sha256="0" * 64)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of("x4", tmp_path_factory.mktemp("models"))


def small() -> Image.Image:
    return picture().resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)


def theirs(case: Case, request: Img2Img, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    def noise(shape: tuple[int, ...], **_options: Any) -> Tensor:
        """Ours, of the small picture; the latents are handed in."""
        return source().small(shape[1:])[None]

    monkeypatch.setattr(pipeline_stable_diffusion_upscale, "randn_tensor", noise)
    known = {name: value for name, value in case.known.scheduler.items() if name != "_class_name"}
    low = DDPMScheduler(**{**known, "prediction_type": "epsilon"})
    made = StableDiffusionUpscalePipeline(**parts(case), scheduler=scheduler_of(request, case), low_res_scheduler=low)
    latents: Tensor = quiet(made)(
        **WORDS, image=small(), num_inference_steps=request.steps, guidance_scale=request.cfg_scale,
        noise_level=request.noise_level, latents=source().initial((4, HEIGHT // 4, WIDTH // 4))[None],
        output_type="latent",
    ).images  # fmt: skip
    return latents


def ours(case: Case, request: Img2Img, image: Image.Image) -> Tensor:
    (found,) = our_latents(upscale(request, case.facts, source(), image), case.executor)
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("level", [20, 350])
def test_a_picture_is_enlarged_as_diffusers_does(
    case: Case, sampler: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Img2Img(**FIELDS, init_image=REF, noise_level=level, sampler=sampler, scheduler=SAMPLERS[sampler])
    expected = theirs(case, request, monkeypatch)
    assert relative_error(ours(case, request, small()), expected) < TOLERANCE
    assert expected.std() > 0.1
    other = request.model_copy(update={"noise_level": level - 20})
    assert relative_error(ours(case, other, small()), expected) > 10 * TOLERANCE


def test_without_a_size_the_result_is_four_times_as_large(case: Case) -> None:
    request = Img2Img(**{**FIELDS, "width": None, "height": None}, init_image=REF)
    assert ours(case, request, small()).shape[-2:] == (HEIGHT // 4, WIDTH // 4)
    sized = Img2Img(**FIELDS, init_image=REF)
    assert torch.equal(ours(case, request, small()), ours(case, sized, small()))
