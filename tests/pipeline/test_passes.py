"""Whole passes, with a model that draws plain grey and a VAE that averages squares of 8 x 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from webui.diffusion.denoiser import Cond
from webui.diffusion.noise import NoiseSource
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer
from webui.engine.control import Control
from webui.engine.drive import drive
from webui.nn.config import SD15
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import DecodeLatent, Denoise, EncodeImage, EncodeText, ModelFacts, Pass, Texts
from webui.schema.errors import BadImage, BadRequest
from webui.schema.requests import LATENT_UPSCALERS, UPSCALERS, ImageRef, Img2Img, Inpaint, Txt2Img

MODEL = ModelFacts(SD15, NoiseSchedule(SD15.schedule))
REF = ImageRef(sha256="0" * 64)
GREY = 64


class Model:
    """Answers every kind of work and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def picture(self, one: Pass) -> np.ndarray:
        table = {EncodeText: self.text, EncodeImage: self.encode, Denoise: self.denoise, DecodeLatent: self.decode}
        (picture,) = drive([one], {kind: self.counted(call) for kind, call in table.items()}, Control())
        assert picture is not None
        return np.asarray(picture.image)

    def counted(self, call: Any) -> Any:
        def execute(items: Sequence[Any]) -> list[Any]:
            self.asked += items
            return [call(item) for item in items]

        return execute

    def text(self, item: EncodeText) -> Texts:
        return Texts(tuple((Cond(torch.zeros(1, 1)), weight) for _, weight in item.prompts), Cond(torch.zeros(1, 1)))

    def encode(self, item: EncodeImage) -> torch.Tensor:
        rgb = F.avg_pool2d(item.image, 8)
        return torch.cat([rgb, torch.zeros_like(rgb[:1])])

    def denoise(self, item: Denoise) -> tuple[torch.Tensor, Answer]:
        grey = torch.full_like(item.eval.x, GREY / 127.5 - 1)
        return item.eval.x, Answer(grey, grey)

    def decode(self, item: DecodeLatent) -> torch.Tensor:
        return F.interpolate(item.latent[None, :3], scale_factor=8, mode="nearest")[0] / 2 + 0.5

    def steps(self) -> int:
        return sum(isinstance(item, Denoise) for item in self.asked)


def noise_picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask_with_box(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, box)
    return mask


def repaint(picture: Image.Image, mask: Image.Image, **fields: Any) -> np.ndarray:
    request = Inpaint(**{"init_image": REF, "mask": REF, "sampler": "Euler", "steps": 4, **fields})
    return Model().picture(inpaint(request, MODEL, NoiseSource(1), picture, mask))


@pytest.mark.parametrize("size", [(64, 64), (100, 52), (17, 333)])
def test_a_picture_has_exactly_the_size_asked_for(size: tuple[int, int]) -> None:
    request = Txt2Img(width=size[0], height=size[1], sampler="Euler", steps=2)
    pixels = Model().picture(txt2img(request, MODEL, NoiseSource(1)))
    assert pixels.shape == (size[1], size[0], 3)
    assert (pixels == GREY).all()


@pytest.mark.parametrize("upscaler", UPSCALERS)
def test_hires_draws_twice_and_gives_the_larger_size(upscaler: str) -> None:
    request = Txt2Img(
        width=64, height=40, sampler="Euler", steps=4, enable_hr=True, hr_scale=1.5, hr_upscaler=upscaler, hr_steps=6,
        denoising_strength=0.5,
    )  # fmt: skip
    model = Model()
    assert model.picture(txt2img(request, MODEL, NoiseSource(1))).shape == (60, 96, 3)
    assert model.steps() == 4 + 4
    encodes = sum(isinstance(item, EncodeImage) for item in model.asked)
    assert encodes == (0 if upscaler in LATENT_UPSCALERS else 1)
    fractions = [item.fraction for item in model.asked if isinstance(item, Denoise)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("size", [(64, 64), (517, 333)])
def test_img2img_keeps_the_size_of_its_picture(size: tuple[int, int]) -> None:
    request = Img2Img(init_image=REF, sampler="Euler", steps=4, denoising_strength=0.5)
    assert Model().picture(img2img(request, MODEL, NoiseSource(1), noise_picture(*size))).shape == (size[1], size[0], 3)


def test_img2img_of_strength_zero_gives_the_picture_back_without_work() -> None:
    model, picture = Model(), noise_picture(50, 40)
    request = Img2Img(init_image=REF, denoising_strength=0)
    assert np.array_equal(model.picture(img2img(request, MODEL, NoiseSource(1), picture)), np.asarray(picture))
    assert model.asked == []


def test_what_is_transparent_counts_as_white() -> None:
    request = Img2Img(init_image=REF, denoising_strength=0)
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert (Model().picture(img2img(request, MODEL, NoiseSource(1), clear)) == 255).all()


@pytest.mark.parametrize("content", ["fill", "original", "latent noise", "latent nothing"])
@pytest.mark.parametrize("area", ["Whole picture", "Only masked"])
@pytest.mark.parametrize("size", [(128, 96), (131, 77)])
def test_pixels_where_the_blurred_mask_is_zero_come_back_bit_for_bit(
    size: tuple[int, int], area: str, content: str
) -> None:
    picture, box = noise_picture(*size), (50, 30, 90, 60)
    pixels = repaint(
        picture, mask_with_box(*size, box), mask_blur=3, inpaint_area=area, masked_content=content, padding=8
    )
    before, reach = np.asarray(picture), 8  # blur 3 reaches 2.5 times as far
    untouched = np.ones(before.shape[:2], bool)
    untouched[box[1] - reach : box[3] + reach, box[0] - reach : box[2] + reach] = False
    assert np.array_equal(pixels[untouched], before[untouched])
    assert (abs(pixels[40:50, 60:80].astype(int) - GREY) <= 1).all()


def test_an_inverted_mask_repaints_the_rest() -> None:
    picture = noise_picture(64, 64)
    pixels = repaint(picture, mask_with_box(64, 64, (0, 0, 32, 64)), mask_blur=0, mask_invert=True)
    assert np.array_equal(pixels[:, :32], np.asarray(picture)[:, :32])
    assert (abs(pixels[:, 32:].astype(int) - GREY) <= 1).all()


def test_only_masked_draws_the_region_at_the_full_size() -> None:
    request = Inpaint(
        init_image=REF, mask=REF, sampler="Euler", steps=2, width=64, height=64, inpaint_area="Only masked", padding=0,
        mask_blur=0,
    )  # fmt: skip
    model, picture = Model(), noise_picture(200, 100)
    mask = mask_with_box(200, 100, (100, 40, 120, 60))
    assert model.picture(inpaint(request, MODEL, NoiseSource(1), picture, mask)).shape == (100, 200, 3)
    (encoded,) = (item for item in model.asked if isinstance(item, EncodeImage))
    assert encoded.image.shape == (3, 64, 64)


def test_a_stroke_finer_than_a_latent_pixel_is_repainted_all_the_same() -> None:
    pixels = repaint(Image.new("RGB", (64, 64), "white"), mask_with_box(64, 64, (30, 30, 32, 32)), mask_blur=0)
    assert (abs(pixels[30:32, 30:32].astype(int) - GREY) <= 1).all()
    assert (pixels == 255).all(axis=2).sum() == 64 * 64 - 4


def test_an_empty_mask_is_refused_with_the_cure() -> None:
    with pytest.raises(BadRequest, match="Paint over"):
        repaint(noise_picture(64, 64), Image.new("L", (64, 64), 0))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(BadImage, match="64x60"):
        repaint(noise_picture(64, 64), mask_with_box(64, 60, (0, 0, 9, 9)))


def test_masked_content_decides_what_the_masked_part_starts_from() -> None:
    def start(content: str) -> torch.Tensor:
        model = Model()
        request = Inpaint(
            init_image=REF,
            mask=REF,
            sampler="Euler",
            steps=4,
            denoising_strength=0.5,
            masked_content=content,
            mask_blur=0,
        )
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste((0, 0, 0), (16, 16, 48, 48))
        model.picture(inpaint(request, MODEL, NoiseSource(1), picture, mask_with_box(64, 64, (16, 16, 48, 48))))
        first = next(item for item in model.asked if isinstance(item, Denoise))
        return first.eval.x - first.eval.sigma * NoiseSource(1).initial((4, 8, 8))  # what noise was added to

    middle, rim = np.s_[:3, 3:5, 3:5], np.s_[:3, :2]
    assert (start("original")[middle] + 1).abs().max() < 1e-4
    assert (start("fill")[middle] - 1).abs().max() < 0.1
    assert start("latent nothing")[middle].abs().max() < 1e-4
    assert start("latent noise")[middle].std() > 0.3
    for content in ("original", "fill", "latent nothing", "latent noise"):
        assert (start(content)[rim] - 1).abs().max() < 1e-4
