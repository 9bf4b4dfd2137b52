"""A picture four times as large, by a model that reads the small one beside the latent: Stable Diffusion's x4 upscaler.

The small picture is not encoded: it has as many pixels as the latent. Noise is added to it as in training, to the
timestep that the model is told as a class (Ho et al. 2021, arXiv:2106.15282, section 4.2: conditioning augmentation).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from PIL.Image import Image
from torch import Tensor

from webui.diffusion.denoiser import Cond, q_sample_vp
from webui.diffusion.noise import NoiseSource
from webui.images.read import opaque
from webui.images.resize import crop_back, resize_to
from webui.pipeline.sampling import from_noise
from webui.pipeline.tensors import image_to_tensor, tensor_to_image
from webui.pipeline.texts import PassTexts, encoded_texts
from webui.pipeline.work import DecodeLatent, ModelFacts, Pass, Picture, Texts
from webui.schema.requests import Img2Img


def upscale(request: Img2Img, model: ModelFacts, source: NoiseSource, init: Image) -> Pass:
    """The pass of one picture, from pure noise. `init` is brought to a quarter of the request's size; where the request
    names none it stays as it is."""
    factor = model.multiple
    width, height = request.width or init.width * factor, request.height or init.height * factor
    shape = model.latent_shape(width, height)
    small = resize_to(opaque(init), shape[2], shape[1], request.resize_mode)
    texts = yield from encoded_texts(request, width, height)
    texts = beside(texts, noised(image_to_tensor(small), request.noise_level, model, source), request.noise_level)
    latent: Tensor = yield from from_noise(request, model, source, texts, shape, parts=1)
    decoded: Tensor = yield DecodeLatent(latent, model.picture)
    return Picture(crop_back(tensor_to_image(decoded), width, height))


def noised(image: Tensor, level: int, model: ModelFacts, source: NoiseSource) -> Tensor:
    """image (3 h w) in -1..1 as it is at the timestep `level` of the model's own schedule."""
    alpha_bar = float(model.schedule.alphas_cumprod[level])
    return q_sample_vp(image, alpha_bar, source.small(image.shape))


def beside(texts: PassTexts, concat: Tensor, level: int) -> PassTexts:
    """The texts of a pass with the small picture (3 h w) and its noise level."""

    def with_both(cond: Cond) -> Cond:
        return replace(cond, concat=concat, y=torch.tensor(level, device=cond.context.device))

    def each(one: Texts) -> Texts:
        conds = tuple((with_both(cond), weight) for cond, weight in one.conds)
        return replace(one, conds=conds, uncond=with_both(one.uncond))

    return replace(texts, texts=tuple(each(one) for one in texts.texts))
