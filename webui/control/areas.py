"""Where in the U-Net's states a region of the picture lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch.nn.functional as F
from torch import Tensor

from webui.nn.config import UNetConfig


def fit_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask (1 1 h w) at another size (h, w), bilinear."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return F.interpolate(mask.float(), size=tuple(size), mode="bilinear", align_corners=False)


def attention_size(config: UNetConfig, attention: str, latent: tuple[int, int]) -> tuple[int, int]:
    """(h, w) in which an attention of the U-Net sees a latent of (h, w): halved, rounding up, on each level."""
    side, index = attention.split(".")[:2]
    levels = len(config.channel_mult)
    if side == "middle_block":
        level = levels - 1
    elif side == "input_blocks":
        starts = list(accumulate((blocks + 1 for blocks in config.res_blocks), initial=1))
        level = sum(int(index) >= start for start in starts[1:])
    else:
        ends = list(accumulate(blocks + 1 for blocks in reversed(config.res_blocks)))
        level = levels - 1 - sum(int(index) >= end for end in ends)
    h, w = latent
    for _ in range(level):
        h, w = (h + 1) // 2, (w + 1) // 2
    return h, w
