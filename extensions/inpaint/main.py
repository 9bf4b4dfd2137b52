"""The picture for networks that fill what is masked; with `inpaint_only`, what is not masked stays the picture's own.

The network itself sees masked pixels as -1: that is the program's part, as it is of every preprocessor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from webui.ext import BadRequest, DecodeContext, Hint, PassContext, StepContext

ONLY = "inpaint_only"
RIM = 7
"""Pixels: how wide a square the mask is widened by, and then softened by."""


@dataclass
class Kept:
    """Units of a pass: each with the latent (c h w) of what is seen of its picture, and its share of it (1 h w)."""

    units: list[tuple[Any, Tensor, Tensor]] = field(default_factory=list)


def picture(image: np.ndarray) -> np.ndarray:
    """The picture as it is."""
    return image


def open_pass(p: PassContext) -> Iterator[None]:
    """Remember the pictures of units that keep them. Raises BadRequest where one has no mask."""
    for unit in p.units:
        if unit.settings.preprocessor == ONLY and unit.settings.weight > 0:
            hint = unit.hint
            if hint.mask is None:
                cure = "Paint on the unit's picture what it shall repaint."
                raise BadRequest(f"Control unit {unit.number} has no mask: inpaint_only would keep everything.", cure)
            share = (1 - widened(hint.mask, p.shape[1:]))[0]
            if unit.region is not None:
                share = share * F.interpolate(unit.region.to(share), share.shape[-2:], mode="bilinear")[0]
            p.state(Kept).units.append((unit, p.encode_image(filled(hint) * 2 - 1), share))
    yield


def after_cfg(s: StepContext) -> Tensor | None:
    """The prediction x0 (c h w), outside the masks that of the pictures."""
    denoised = s.denoised
    for unit, latent, share in s.state(Kept).units:
        if unit.active(s.step, s.steps):
            denoised = denoised + (latent.to(denoised) - denoised) * share.to(denoised)
    return denoised


def after_decode(p: DecodeContext) -> Tensor | None:
    """The drawn picture (3 h w) in 0..1, outside the softened masks the pixels of the unit's own."""
    image = p.image
    for unit, _latent, _share in p.state(Kept).units:
        image = composed(image, unit.hint, unit.region)
    return image


def widened(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (1 1 h w) at the size of the latent (1 1 h/k w/k): 1 in each cell that has masked pixels, or a masked one
    next to it."""
    k = mask.shape[-1] // size[1]
    return F.max_pool2d(mask.float(), k + 2, stride=k, padding=1)


def filled(hint: Hint) -> Tensor:
    """The picture (3 h w) in 0..1, what is masked in the mean colour of the rest: the network's -1 is no colour."""
    assert hint.mask is not None
    seen = 1 - hint.mask[0].float()
    visible = hint.image[0].float() * seen
    mean = visible.sum(dim=(1, 2), keepdim=True) / seen.sum().clamp(min=1)
    return visible + mean * (1 - seen)


def softened(mask: Tensor) -> Tensor:
    """A mask (1 1 h w) widened and blurred; it is 1 wherever the mask is, and 0 further than 6 pixels from it."""
    wide = F.max_pool2d(mask.float(), RIM, stride=1, padding=RIM // 2)
    return F.avg_pool2d(F.pad(wide, (RIM // 2,) * 4, mode="replicate"), RIM, stride=1)


def composed(drawn: Tensor, hint: Hint, region: Tensor | None) -> Tensor:
    """drawn (3 h w) in 0..1 with the pixels of the hint where it is not masked and the unit acts.

    Where one of them is larger, at the right and below, it stays as it is.
    """
    assert hint.mask is not None
    height, width = (min(ours, theirs) for ours, theirs in zip(drawn.shape[1:], hint.image.shape[2:], strict=True))
    own, share = filled(hint), 1 - softened(hint.mask)[0]
    if region is not None:
        share = share * region[0].float()
    own, share = own[:, :height, :width].to(drawn), share[:, :height, :width].to(drawn)
    part = drawn[:, :height, :width]
    whole = drawn.clone()
    whole[:, :height, :width] = torch.where(share == 1, own, part + (own - part) * share)
    return whole
