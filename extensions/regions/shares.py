"""From regions to shares: how much each prompt says at each place of a latent. At each place they sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .areas import Places, Region

if TYPE_CHECKING:
    from webui.ext import PassContext


def shares_of(p: PassContext, regions: Sequence[Region], base_ratio: float) -> Tensor:
    """The shares (1 + r, h, w) of the main prompt and the regions, at the size of the latent of a pass."""
    masks = torch.stack([mask_of(p, region) for region in regions])
    return shares(masks, [region.weight for region in regions], base_ratio)


def mask_of(p: PassContext, region: Region) -> Tensor:
    """(h w) in 0..1: what part of each latent pixel the region covers. A size that was padded repeats its rim."""
    covered = torch.from_numpy(region.covers(*places(p))).float()
    _, height, width = p.shape
    side = p.config.vae.downscale
    padding = (0, width * side - p.width, 0, height * side - p.height)
    padded = F.pad(covered[None, None], padding, mode="replicate")
    return F.adaptive_avg_pool2d(padded, (height, width))[0, 0]


def places(p: PassContext) -> tuple[Places, Places]:
    """Where the columns (w) and rows (h) of a pass lie in the whole picture, 0..1.

    An inpainting that draws a part of the picture alone sees the part of the regions that lies there.
    """
    across, down = (np.arange(p.width) + 0.5) / p.width, (np.arange(p.height) + 0.5) / p.height
    if p.crop is None:
        return across, down
    left, top, right, bottom = p.crop
    whole = p.job.image(p.job.request.init_image)
    return (left + across * (right - left)) / whole.width, (top + down * (bottom - top)) / whole.height


def shares(masks: Tensor, weights: Sequence[float], base_ratio: float) -> Tensor:
    """masks (r h w) in 0..1 -> (1 + r, h, w), the main prompt's first.

    Where regions cover all of a place the main prompt keeps base_ratio beside regions of weight 1, elsewhere all.
    """
    covered = masks.sum(0).clamp(max=1)
    base = 1 - (1 - base_ratio) * covered
    own = (1 - base_ratio) * masks * torch.tensor(weights)[:, None, None]
    said = torch.cat([base[None], own])
    return said / said.sum(0)
