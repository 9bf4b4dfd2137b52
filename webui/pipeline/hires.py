"""The second pass of "Hires. fix": enlarge what the first drew, add noise, draw again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from PIL.Image import Resampling
from torch import Tensor

from webui.diffusion.noise import NoiseSource
from webui.pipeline.concat import with_concat
from webui.pipeline.sampling import Place, Redo, from_latent
from webui.pipeline.tensors import image_to_tensor, tensor_to_image
from webui.pipeline.texts import encoded_texts
from webui.pipeline.work import DecodeLatent, EncodeImage, ModelFacts, UseModel, Work
from webui.schema.requests import LATENT_UPSCALERS, Txt2Img
from webui.schema.resolve import hires_model, hires_request, same_latents_needed

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
    request: Txt2Img, first: ModelFacts, source: NoiseSource, latent: Tensor, size: tuple[int, int]
) -> Generator[Work, Any, Tensor]:
    """latent (c h w) of the first pass -> latent (c H W) of the second, of `size` (width, height) in pixels.

    The checkpoint of the hires pass takes over between the two: the first one's VAE decodes, its own encodes.
    """
    request = hires_request(request)
    image: Tensor | None = None
    if request.hr_upscaler not in LATENT_UPSCALERS:
        image = yield DecodeLatent(latent)
    model = yield from second_model(request, first)
    texts = yield from encoded_texts(request, *size, part=1)
    texts = yield from with_concat(model, texts, size)
    if image is not None:
        enlarged = yield from enlarged_image(image, model, source, request.hr_upscaler, size)
    else:
        mode = LATENT_MODES[request.hr_upscaler]
        enlarged = F.interpolate(latent[None], size=model.latent_shape(*size)[1:], **mode)[0]
    redo = Redo(request.denoising_strength, request.hr_steps or request.steps, place=Place(1, 2, size))
    return (yield from from_latent(request, model, source, texts, enlarged, redo))


def second_model(request: Txt2Img, first: ModelFacts) -> Generator[Work, Any, ModelFacts]:
    """The model of the hires pass, which is in use from now on.

    Raises:
        BadRequest: the latent goes from one to the other as it is, and means something else there.
    """
    name = hires_model(request)
    if not name:
        return first
    second: ModelFacts = yield UseModel(name)
    if second.config.vae.latent_space != first.config.vae.latent_space and request.hr_upscaler in LATENT_UPSCALERS:
        raise same_latents_needed(request)
    return replace(second, picture=first.picture)


def enlarged_image(
    image: Tensor, model: ModelFacts, source: NoiseSource, upscaler: str, size: tuple[int, int]
) -> Generator[Work, Any, Tensor]:
    """image (3 h w) in 0..1 -> latent (c H W) of the enlarged picture of `size` (width, height)."""
    shape = model.latent_shape(*size)
    padded = (shape[2] * model.multiple, shape[1] * model.multiple)
    larger = tensor_to_image(image).resize(padded, IMAGE_MODES[upscaler])
    encoded: Tensor = yield EncodeImage(image_to_tensor(larger), source.posterior(shape))
    return encoded
