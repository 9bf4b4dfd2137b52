"""What a U-Net reads beside the latent: a mask and what stands around it, a picture to edit, or its depth.

Inpainting models: Rombach et al. 2022 (arXiv:2112.10752), section 4.5. The order of channels is that of the published
ones: latent, mask, latent of the masked picture. Edit models: Brooks et al. 2022 (arXiv:2211.09800). Depth models have
no paper: `LatentDepth2ImageDiffusion` of Stable Diffusion 2.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from PIL.Image import Image, Resampling
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.pipeline.tensors import image_to_tensor, mask_to_tensor
from webui.pipeline.texts import PassTexts
from webui.pipeline.work import EncodeImage, EstimateDepth, ModelFacts, Texts, Work
from webui.schema.resolve import picture_needed

GREY = 0.0
"""What stands under a mask, in -1..1."""
HALF = 0.5
FLAT = 1e-6
"""Depths that differ by no more are one."""


@dataclass(frozen=True)
class Beside:
    """What a pass can show its model. image: the picture it starts from, sides padded to the model's multiple.

    mask: of its size, grey, white where the model draws; repaint: the same as (1 h w), at the size of the latent. Both
    are None where all of it is drawn. hidden: how much of what is under the mask the model does not see, 0 to 1.
    """

    image: Image
    mask: Image | None = None
    repaint: Tensor | None = None
    hidden: float = 1.0


def with_concat(
    model: ModelFacts, texts: PassTexts, size: tuple[int, int], beside: Beside | None = None
) -> Generator[Work, Any, PassTexts]:
    """The texts of a pass with what the model reads beside the latent; as they are, of one that reads nothing.

    size: (width, height) drawn, in pixels. beside: None where there is no picture to start from.

    Raises:
        BadRequest: the model has no picture to go by; an upscaler, which has a pass of its own, never has.
    """
    if model.config.extra == "inpaint":
        concat = yield from inpaint_concat(model, size, beside)
        return replace(texts, texts=tuple(_each(one, concat) for one in texts.texts))
    if model.config.extra == "edit":
        concat = yield from edit_concat(model, size, beside)
        return replace(texts, texts=tuple(_with_bare(_each(one, concat)) for one in texts.texts))
    if model.config.extra == "depth":
        concat = yield from depth_concat(model, size, beside)
        return replace(texts, texts=tuple(_each(one, concat) for one in texts.texts))
    if model.config.extra == "upscale":
        raise picture_needed("This model", "upscale")
    return texts


def inpaint_concat(model: ModelFacts, size: tuple[int, int], beside: Beside | None) -> Generator[Work, Any, Tensor]:
    """(1 + c h w): the mask, and the latent of the picture with the masked part grey.

    Without a mask all is masked and the picture is grey, so that the model draws as if it were an ordinary one.
    """
    c, h, w = model.latent_shape(*size)
    repaint = torch.ones(1, h, w) if beside is None or beside.repaint is None else beside.repaint
    grey = torch.full((3, h * model.multiple, w * model.multiple), GREY)
    latent = yield from mean_latent(grey if beside is None else masked_image(beside, grey), (c, h, w))
    return torch.cat([repaint.to(latent), latent])


def masked_image(beside: Beside, grey: Tensor) -> Tensor:
    """The picture (3 8h 8w) with what is under the mask as far on the way to grey as it is hidden."""
    image = image_to_tensor(beside.image)
    masked = grey if beside.mask is None else torch.where(mask_to_tensor(beside.mask) < HALF, image, grey)
    return torch.lerp(image, masked, beside.hidden)


def edit_concat(model: ModelFacts, size: tuple[int, int], beside: Beside | None) -> Generator[Work, Any, Tensor]:
    """(c h w): the picture to edit in the autoencoder's own space, as these models were trained: not scaled."""
    if beside is None:
        raise picture_needed("This model", "edit")
    latent = yield from mean_latent(image_to_tensor(beside.image), model.latent_shape(*size))
    return latent / model.config.vae.scale_factor + model.config.vae.shift


def depth_concat(model: ModelFacts, size: tuple[int, int], beside: Beside | None) -> Generator[Work, Any, Tensor]:
    """(1 h w): the depth of the picture in -1..1, near = 1, stretched for each picture as in training."""
    if beside is None or model.config.depth is None:
        raise picture_needed("This model", "depth")
    side = model.config.depth.size
    shown = image_to_tensor(beside.image.resize((side, side), Resampling.BICUBIC))
    depth: Tensor = yield EstimateDepth(shown)
    h, w = model.latent_shape(*size)[1:]
    return stretched(F.interpolate(depth[None, None], (h, w), mode="bicubic")[0])


def stretched(depth: Tensor) -> Tensor:
    """(1 h w) with its least value at -1 and its greatest at 1; 0 where all are alike."""
    low, high = depth.min(), depth.max()
    span = high - low
    if span <= FLAT * torch.maximum(low.abs(), high.abs()):
        return torch.zeros_like(depth)
    return 2 * (depth - low) / span - 1


def mean_latent(image: Tensor, shape: tuple[int, int, int]) -> Generator[Work, Any, Tensor]:
    """image (3 8h 8w) in -1..1 -> the mean of its posterior as a latent (c h w), the same for every seed."""
    latent: Tensor = yield EncodeImage(image, torch.zeros(shape))
    return latent


def _each(texts: Texts, concat: Tensor) -> Texts:
    def beside(cond: Cond) -> Cond:
        return replace(cond, concat=concat)

    return replace(
        texts, conds=tuple((beside(cond), weight) for cond, weight in texts.conds), uncond=beside(texts.uncond)
    )


def _with_bare(texts: Texts) -> Texts:
    """With the row that is shown neither prompt nor picture, which is zeros to it."""
    assert texts.uncond.concat is not None
    return replace(texts, bare=replace(texts.uncond, concat=torch.zeros_like(texts.uncond.concat)))
