"""Depth models against diffusers' depth2img pipeline: depth found by the same estimator, and the passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionDepth2ImgPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor
from transformers import DPTImageProcessorPil

from tests.nn.weights import relative_error
from tests.parity.conftest import Cases
from tests.parity.pipelines import (
    FIELDS,
    HEIGHT,
    REF,
    STRENGTH,
    THEIR_STRENGTH,
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
from webui.engine.control import Control
from webui.engine.drive import drive
from webui.pipeline.concat import Beside, depth_concat
from webui.pipeline.img2img import img2img
from webui.schema.requests import Img2Img

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def depth(cases: Cases) -> Case:
    """Stable Diffusion 2 with its depth estimator, as a diffusers folder."""
    return cases("sd2-depth")


def pipeline(case: Case, scheduler: Any) -> Any:
    side = case.known.depth["image_size"]
    return StableDiffusionDepth2ImgPipeline(
        **parts(case), scheduler=scheduler, depth_estimator=case.theirs.depth,
        feature_extractor=DPTImageProcessorPil(size={"height": side, "width": side}),
    )  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (64, 152)])
def test_the_depth_that_the_model_reads_is_that_of_diffusers(depth: Case, size: tuple[int, int]) -> None:
    image = picture().resize(size, Image.Resampling.BICUBIC)
    (ours,) = drive([depth_concat(depth.facts, size, Beside(image))], depth.executor.table, Control())
    theirs = pipeline(depth, None).prepare_depth_map(image, None, 1, False, torch.float32, torch.device("cpu"))
    assert ours is not None
    assert ours.shape == (1, size[1] // 8, size[0] // 8)
    assert (ours.min(), ours.max()) == (-1, 1)
    assert relative_error(ours[None], theirs) < 1e-4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_depth_model_draws_as_diffusers_does(depth: Case, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(self: DiagonalGaussianDistribution, generator: Any = None) -> Tensor:
        """With our draw of the posterior."""
        return self.mean + self.std * source().posterior(self.mean.shape[1:])

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", drawn)
    request = Img2Img(
        **FIELDS, init_image=REF, denoising_strength=STRENGTH, sampler=sampler, scheduler=SAMPLERS[sampler]
    )
    (ours,) = our_latents(img2img(request, depth.facts, source(), picture()), depth.executor)
    made = pipeline(depth, their_scheduler(request, depth))
    expected = their_latents(made, request, image=picture(), strength=THEIR_STRENGTH)
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1
