"""What passes show an inpainting model beside the latent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests.pipeline.test_passes import REF, Model, mask_with_box, noise_picture
from webui.diffusion.noise import NoiseSource
from webui.diffusion.schedules import NoiseSchedule
from webui.nn.config import SD15, with_extra
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.tensors import image_to_tensor
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import Denoise, EncodeImage, ModelFacts, Pass
from webui.schema.requests import Img2Img, Inpaint, Txt2Img

PAINT = ModelFacts(with_extra(SD15, "inpaint"), NoiseSchedule(SD15.schedule))
FIELDS: dict[str, Any] = {"sampler": "Euler", "steps": 4, "prompt": "a [cat:dog:0.5] AND ball"}


def concats(one: Pass) -> list[Tensor]:
    """What stood beside the latent in each row of each call, (1 + c h w)."""
    model = Model()
    model.picture(one)
    rows = [row for item in model.asked if isinstance(item, Denoise) for row in item.guidance.rows()]
    assert len(rows) == 3 * model.steps()
    assert all(not item.noise.any() for item in model.asked if isinstance(item, EncodeImage) and not item.image.any())
    return [row.concat for row in rows if row.concat is not None]


def assert_all_is_drawn(concat: Tensor, height: int, width: int) -> None:
    """The mask is ones; the picture is grey, whose latent is 0 in the stand-in for a VAE."""
    assert concat.shape == (5, height, width)
    assert (concat[0] == 1).all()
    assert not concat[1:].any()


def test_without_a_picture_all_is_to_be_drawn() -> None:
    found = concats(txt2img(Txt2Img(**FIELDS, width=70, height=40), PAINT, NoiseSource(1)))
    assert len(found) == 12
    for concat in found:
        assert_all_is_drawn(concat, 5, 9)


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_the_hires_pass_has_its_own_size(upscaler: str) -> None:
    request = Txt2Img(**FIELDS, width=64, height=48, enable_hr=True, hr_scale=2, hr_upscaler=upscaler)
    *_, last = concats(txt2img(request, PAINT, NoiseSource(1)))
    assert_all_is_drawn(last, 12, 16)


def test_a_picture_without_a_mask_is_drawn_anew_as_a_whole() -> None:
    found = concats(img2img(Img2Img(**FIELDS, init_image=REF), PAINT, NoiseSource(1), noise_picture(64, 48)))
    assert_all_is_drawn(found[0], 6, 8)


def test_the_model_sees_the_mask_and_what_stands_around_it() -> None:
    picture, mask = noise_picture(64, 48), mask_with_box(64, 48, (16, 8, 40, 32))
    request = Inpaint(**FIELDS, init_image=REF, mask=REF, mask_blur=0, masked_content="fill")
    for concat in concats(inpaint(request, PAINT, NoiseSource(1), picture, mask)):
        expected = torch.zeros(6, 8)
        expected[1:4, 2:5] = 1
        assert torch.equal(concat[0], expected)
        around = F.avg_pool2d(image_to_tensor(picture), 8) * (1 - expected)
        assert torch.allclose(concat[1:4], around, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_what_is_under_the_mask_is_hidden_as_far_as_asked_for(weight: float) -> None:
    picture, mask = noise_picture(64, 48), mask_with_box(64, 48, (16, 8, 40, 32))
    fields = {**FIELDS, "init_image": REF, "inpainting_mask_weight": weight}
    under = torch.zeros(6, 8)
    under[1:4, 2:5] = 1
    shown = F.avg_pool2d(image_to_tensor(picture), 8)
    painted = Inpaint(**fields, mask=REF, mask_blur=0)
    for concat in concats(inpaint(painted, PAINT, NoiseSource(1), picture, mask)):
        assert torch.equal(concat[0], under)
        assert torch.allclose(concat[1:4], shown * (1 - weight * under), atol=1e-6)
    for concat in concats(img2img(Img2Img(**fields), PAINT, NoiseSource(1), picture)):
        assert (concat[0] == 1).all()
        assert torch.allclose(concat[1:4], shown * (1 - weight), atol=1e-6)


def test_of_a_region_the_model_sees_the_part_that_it_draws() -> None:
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:, 64:] = 255
    mask = mask_with_box(128, 96, (68, 40, 90, 60))
    request = Inpaint(
        **FIELDS, init_image=REF, mask=REF, mask_blur=0, inpaint_area="Only masked", padding=4, width=64, height=64
    )
    concat, *_ = concats(inpaint(request, PAINT, NoiseSource(1), Image.fromarray(pixels), mask))
    assert concat.shape == (5, 8, 8)
    assert 0 < concat[0].mean() < 1
    assert (concat[1:4][concat[0].expand(3, -1, -1) == 0] > 0.5).any()
    assert (concat[1:4] >= 0).all()  # the black half lies outside


def test_an_ordinary_model_is_shown_nothing() -> None:
    plain = replace(PAINT, config=SD15)
    assert concats(txt2img(Txt2Img(**FIELDS, width=64, height=48), plain, NoiseSource(1))) == []
