"""What a U-Net reads beside the latent: a mask and what stands around it, or a picture to edit.

Inpainting models: Rombach et al. 2022 (arXiv:2112.10752), section 4.5. The order of channels is that of the published
ones: latent, mask, latent of the masked picture. Edit models: Brooks et al. 2022 (arXiv:2211.09800).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.pipeline.tensors import image_to_tensor, mask_to_tensor
from webui.pipeline.texts import PassTexts
from webui.pipeline.work import EncodeImage, ModelFacts, Texts, Work
from webui.schema.resolve import picture_needed

GREY = 0.0
"""What stands under a mask, in -1..1."""
HALF = 0.5


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
        BadRequest: an edit model has nothing to edit.
    """
    if model.config.extra == "inpaint":
        concat = yield from inpaint_concat(model, size, beside)
        return replace(texts, texts=tuple(_each(one, concat) for one in texts.texts))
    if model.config.extra == "edit":
        concat = yield from edit_concat(model, size, beside)
        return replace(texts, texts=tuple(_with_bare(_each(one, concat)) for one in texts.texts))
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
        raise picture_needed("This model")
    latent = yield from mean_latent(image_to_tensor(beside.image), model.latent_shape(*size))
    return latent / model.config.vae.scale_factor + model.config.vae.shift


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
