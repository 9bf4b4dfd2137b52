"""Repaint what is under a mask. Where the blurred mask is 0 the picture comes back bit for bit."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from PIL import ImageChops
from PIL.Image import Image
from torch import Tensor

from webui.diffusion.noise import NoiseSource
from webui.images.mask import Region, blur_mask, composite, crop_region, fill_masked, load_mask, paste_region
from webui.images.read import opaque
from webui.images.resize import crop_back, pad_to_multiple, resize_to
from webui.pipeline.concat import Beside, with_concat
from webui.pipeline.sampling import Keep, Place, Redo, from_latent
from webui.pipeline.tensors import image_to_tensor, mask_to_tensor, tensor_to_image
from webui.pipeline.texts import encoded_texts
from webui.pipeline.work import DecodeLatent, EncodeImage, ModelFacts, Pass, Picture, Work
from webui.schema.errors import BadRequest
from webui.schema.requests import Inpaint


@dataclass(frozen=True)
class Canvas:
    """What is drawn on. whole: the picture the result is laid over; image, mask: the part the model sees, at its size.

    The mask is grey and blurred, 255 where the model draws. region: the part's place in the whole, None for all of it.
    """

    whole: Image
    image: Image
    mask: Image
    region: Region | None = None


def inpaint(request: Inpaint, model: ModelFacts, source: NoiseSource, init: Image, mask: Image) -> Pass:
    """The pass of one picture.

    Raises:
        BadRequest: when the mask is empty.
    """
    canvas = prepare(request, opaque(init), mask)
    if request.denoising_strength <= 0:
        return Picture(canvas.whole)
    drawn = yield from redraw(request, model, source, canvas)
    if canvas.region is None:
        return Picture(composite(canvas.whole, drawn, canvas.mask))
    return Picture(paste_region(canvas.whole, drawn, canvas.region))


def prepare(request: Inpaint, init: Image, mask: Image) -> Canvas:
    """Picture and mask at the size they are drawn at."""
    width, height = request.width or init.width, request.height or init.height
    chosen = load_mask(mask, init.size)
    chosen = ImageChops.invert(chosen) if request.mask_invert else chosen
    if chosen.getbbox() is None:
        raise BadRequest("The mask is empty: nothing would be repainted.", "Paint over what shall change.")
    if request.inpaint_area == "Only masked":
        blurred = blur_mask(chosen, request.mask_blur)
        region = crop_region(blurred, request.padding, width / height)
        cut = init.crop(region.box), region.mask
        image, part = (picture.resize((width, height), region.resampling) for picture in cut)
        return Canvas(init, image, part, region)
    whole = resize_to(init, width, height, request.resize_mode)
    fitted = resize_to(chosen, width, height, request.resize_mode)
    return Canvas(whole, whole, blur_mask(fitted, request.mask_blur))


def redraw(request: Inpaint, model: ModelFacts, source: NoiseSource, canvas: Canvas) -> Generator[Work, Any, Image]:
    """What the model makes of the canvas, at the size of its part."""
    size = canvas.image.size
    texts = yield from encoded_texts(request, *size)
    start = fill_masked(canvas.image, canvas.mask) if request.masked_content == "fill" else canvas.image
    shape, padded = model.latent_shape(*size), pad_to_multiple(start, model.multiple)
    init: Tensor = yield EncodeImage(image_to_tensor(padded), source.posterior(shape))
    mask = pad_to_multiple(canvas.mask, model.multiple)
    repaint = latent_mask(mask, model.multiple).to(init)
    seen = pad_to_multiple(canvas.image, model.multiple)
    beside = Beside(seen, mask, repaint, request.inpainting_mask_weight)
    texts = yield from with_concat(model, texts, size, beside)
    init = masked_content(request.masked_content, init, repaint, source.initial(shape))
    place = Place(size=size, crop=canvas.region.box if canvas.region else None)
    redo = Redo(request.denoising_strength, request.steps, Keep(init, repaint), place)
    latent: Tensor = yield from from_latent(request, model, source, texts, init, redo)
    decoded: Tensor = yield DecodeLatent(latent, model.picture)
    return crop_back(tensor_to_image(decoded), *size)


def latent_mask(mask: Image, multiple: int) -> Tensor:
    """(1 h/8 w/8): 1 where at least half of a latent pixel is masked; of a mask finer than that, every touched one."""
    share = F.avg_pool2d(mask_to_tensor(mask)[None], multiple)  # (1 h w)
    hard = (share >= 0.5).float()
    return hard if bool(hard.any()) else (share > 0).float()


def masked_content(kind: str, init: Tensor, repaint: Tensor, noise: Tensor) -> Tensor:
    """The latent (c h w) that the masked part starts from: as it is, noise, or nothing."""
    if kind == "latent noise":
        return init * (1 - repaint) + noise.to(init) * repaint
    if kind == "latent nothing":
        return init * (1 - repaint)
    return init
