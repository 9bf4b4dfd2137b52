"""Passes of models that read more than the latent, against diffusers' own pipelines with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLInpaintPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from tests.nn.weights import relative_error
from tests.parity.conftest import Cases
from tests.parity.pipelines import (
    FIELDS,
    HEIGHT,
    PLAIN,
    REF,
    WIDTH,
    Case,
    mask,
    our_latents,
    parts,
    picture,
    pipeline_of,
    source,
    their_init,
    their_latents,
    their_scheduler,
)
from tests.parity.schedulers import SAMPLERS
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.tensors import image_to_tensor
from webui.schema.requests import Img2Img, Inpaint

TOLERANCE = 1e-3
REPAINTS = (StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline)


class Noised:
    """A latent (1 c h w) with the noise of each step, in the scale in which a scheduler of theirs has it."""

    def __init__(self, latent: Tensor, request: Img2Img, scheduler: Any) -> None:
        self._latent, self._noise = latent, source().initial(latent.shape[1:])
        self._is_scaled = request.sampler != "Euler"
        self._sigmas = [*scheduler.ours.tolist()]
        scheduler.set_timesteps(request.steps)
        self._first = float(scheduler.init_noise_sigma)

    def at(self, step: int) -> Tensor:
        """Before this step."""
        sigma = self._sigmas[step]
        noised = self._latent + sigma * self._noise
        return noised / (1 + sigma**2) ** 0.5 if self._is_scaled else noised

    @property
    def first(self) -> Tensor:
        """What their pipelines make the latent before the first step of."""
        return self.at(0) / self._first


@pytest.fixture(scope="module", params=["sd15-inpaint", "sd2-inpaint", "sdxl-inpaint"])
def paint(request: pytest.FixtureRequest, cases: Cases) -> Case:
    """The inpainting models of SD 1.x, SD 2.x and SDXL."""
    return cases(request.param)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_inpainting_models_repaint_as_diffusers_does(
    paint: Case, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the masked picture is taken at the mean of its posterior; theirs draws it
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    request = Inpaint(
        **FIELDS, init_image=REF, mask=REF, mask_blur=0, denoising_strength=1.0, sampler=sampler,
        scheduler=SAMPLERS[sampler],
    )  # fmt: skip
    scheduler = their_scheduler(request, paint)
    noised = Noised(their_init(paint, image_to_tensor(picture())), request, scheduler)
    repaint = torch.zeros(1, 1, HEIGHT // 8, WIDTH // 8)
    repaint[..., 1:6, 2:8] = 1

    def kept(pipeline: Any, step: int, timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Ours keeps what is not masked, whatever the model; theirs does so for models of four channels alone."""
        return {"latents": values["latents"] * repaint + noised.at(step + 1) * (1 - repaint)}

    (ours,) = our_latents(inpaint(request, paint.facts, source(), picture(), mask()), paint.executor)
    expected = their_latents(
        pipeline_of(paint, scheduler, *REPAINTS), request, image=picture(), mask_image=mask(), width=WIDTH,
        height=HEIGHT, strength=1.0, latents=noised.first, callback_on_step_end=kept,
    )  # fmt: skip
    assert relative_error(ours, expected) < TOLERANCE
    assert relative_error(ours, their_init(paint, image_to_tensor(picture()))) > 0.1


@pytest.fixture(scope="module")
def edit(cases: Cases) -> Case:
    """InstructPix2Pix."""
    return cases("ip2p")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("image_scale", [1.0, 1.7])
def test_an_edit_model_edits_as_diffusers_does(edit: Case, sampler: str, image_scale: float) -> None:
    request = Img2Img(
        **FIELDS, init_image=REF, denoising_strength=1.0, image_cfg_scale=image_scale, sampler=sampler,
        scheduler=SAMPLERS[sampler],
    )  # fmt: skip
    scheduler = their_scheduler(request, edit)
    noised = Noised(their_init(edit, image_to_tensor(picture())), request, scheduler)
    (ours,) = our_latents(img2img(request, edit.facts, source(), picture()), edit.executor)
    made = StableDiffusionInstructPix2PixPipeline(**parts(edit), scheduler=scheduler, **PLAIN)
    expected = their_latents(made, request, image=picture(), latents=noised.first, image_guidance_scale=image_scale)
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1
