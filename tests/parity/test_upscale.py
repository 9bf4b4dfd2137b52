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
from tests.parity.conftest import Cases
from tests.parity.pipelines import (
    FIELDS,
    HEIGHT,
    REF,
    WIDTH,
    Case,
    our_latents,
    parts,
    picture,
    source,
    their_latents,
    their_scheduler,
)
from tests.parity.schedulers import SAMPLERS
from webui.pipeline.upscale import upscale
from webui.schema.requests import Img2Img

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def upscaler(cases: Cases) -> Case:
    return cases("x4")


def small() -> Image.Image:
    return picture().resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)


def theirs(upscaler: Case, request: Img2Img, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    def noise(shape: tuple[int, ...], **_options: Any) -> Tensor:
        """Ours, of the small picture; the latents are handed in."""
        return source().small(shape[1:])[None]

    monkeypatch.setattr(pipeline_stable_diffusion_upscale, "randn_tensor", noise)
    known = {name: value for name, value in upscaler.known.scheduler.items() if name != "_class_name"}
    low = DDPMScheduler(**{**known, "prediction_type": "epsilon"})
    made = StableDiffusionUpscalePipeline(
        **parts(upscaler), scheduler=their_scheduler(request, upscaler), low_res_scheduler=low
    )
    first = source().initial((4, HEIGHT // 4, WIDTH // 4))[None]
    return their_latents(made, request, image=small(), noise_level=request.noise_level, latents=first)


def ours(upscaler: Case, request: Img2Img, image: Image.Image) -> Tensor:
    (found,) = our_latents(upscale(request, upscaler.facts, source(), image), upscaler.executor)
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("level", [20, 350])
def test_a_picture_is_enlarged_as_diffusers_does(
    upscaler: Case, sampler: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Img2Img(**FIELDS, init_image=REF, noise_level=level, sampler=sampler, scheduler=SAMPLERS[sampler])
    expected = theirs(upscaler, request, monkeypatch)
    assert relative_error(ours(upscaler, request, small()), expected) < TOLERANCE
    assert expected.std() > 0.1
    other = request.model_copy(update={"noise_level": level - 20})
    assert relative_error(ours(upscaler, other, small()), expected) > 10 * TOLERANCE


def test_without_a_size_the_result_is_four_times_as_large(upscaler: Case) -> None:
    request = Img2Img(**{**FIELDS, "width": None, "height": None}, init_image=REF)
    assert ours(upscaler, request, small()).shape[-2:] == (HEIGHT // 4, WIDTH // 4)
    sized = Img2Img(**FIELDS, init_image=REF)
    assert torch.equal(ours(upscaler, request, small()), ours(upscaler, sized, small()))
