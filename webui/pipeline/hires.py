"""The second pass of "Hires. fix": enlarge what the first drew, add noise, draw again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch.nn.functional as F
from PIL.Image import Resampling
from torch import Tensor

from webui.diffusion.noise import NoiseSource
from webui.pipeline.sampling import Place, Redo, from_latent
from webui.pipeline.tensors import image_to_tensor, tensor_to_image
from webui.pipeline.work import DecodeLatent, EncodeImage, ModelFacts, Texts, Work, text_of
from webui.schema.requests import LATENT_UPSCALERS, Txt2Img

LATENT_MODES: dict[str, dict[str, Any]] = {
    "Latent": {"mode": "bilinear"},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic"},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest"},
    "Latent (nearest-exact)": {"mode": "nearest-exact"},
}
IMAGE_MODES = {"Lanczos": Resampling.LANCZOS, "Nearest": Resampling.NEAREST}


def hires_size(request: Txt2Img, width: int, height: int) -> tuple[int, int]:
    """(width, height) of the second pass, in pixels."""
    return int(width * request.hr_scale), int(height * request.hr_scale)


def hires(
    request: Txt2Img, model: ModelFacts, source: NoiseSource, latent: Tensor, size: tuple[int, int]
) -> Generator[Work, Any, Tensor]:
    """latent (c h w) of the first pass -> latent (c H W) of the second, of `size` (width, height) in pixels."""
    texts: Texts = yield text_of(request, *size)
    enlarged: Tensor = yield from enlarge(request.hr_upscaler, model, source, latent, size)
    redo = Redo(request.denoising_strength, request.hr_steps or request.steps, place=Place(1, 2, size))
    return (yield from from_latent(request, model, source, texts, enlarged, redo))


def enlarge(
    upscaler: str, model: ModelFacts, source: NoiseSource, latent: Tensor, size: tuple[int, int]
) -> Generator[Work, Any, Tensor]:
    """latent (c h w) -> latent (c H W) of a picture of `size`, directly or by way of its pixels."""
    shape = model.latent_shape(*size)
    if upscaler in LATENT_UPSCALERS:
        return F.interpolate(latent[None], size=shape[1:], **LATENT_MODES[upscaler])[0]
    image: Tensor = yield DecodeLatent(latent)
    padded = (shape[2] * model.multiple, shape[1] * model.multiple)
    larger = tensor_to_image(image).resize(padded, IMAGE_MODES[upscaler])
    encoded: Tensor = yield EncodeImage(image_to_tensor(larger), source.posterior(shape))
    return encoded
