"""The two ways in which prompts share a picture.

attention: each cross-attention is answered once per prompt, and the answers are laid together by the shares, at the
resolution of the layer ("attention couple"; the cross-attention itself: Rombach et al. 2022, arXiv:2112.10752, section
3.3). Self-attention goes on to see all of the picture, which keeps it one scene.

latent: MultiDiffusion (Bar-Tal et al. 2023, arXiv:2302.08113), eq. 5: the prediction of each prompt for the whole
picture, averaged with the masks as weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from webui.ext import Guidance, rescale

if TYPE_CHECKING:
    from webui.ext import StepContext

Attend = Callable[[Tensor, Tensor], Tensor]


class Couple:
    """In the place of every cross-attention of a pass. contexts: of each region (n d); shares: (1 + r, h, w).

    is_cond: tells of each row of the present call whether it is of the prompt; the others stay as they are.
    """

    def __init__(self, contexts: Sequence[Tensor], shares: Tensor, is_cond: Callable[[], tuple[bool, ...]]) -> None:
        self._contexts = contexts
        self._shares = shares
        self._is_cond = is_cond
        self._by_size: dict[int, Tensor] = {}
        self._has_base = bool(shares[0].any())

    def __call__(self, attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        """x: (b n c), context: (b m d) -> (b n c)."""
        rows = torch.tensor(self._is_cond(), device=x.device)[:, None, None]
        base, *own = self._at(x)
        plain = attend(x, context) if self._has_base else None
        mixed = torch.zeros_like(x) if plain is None else base * plain
        for region, share in zip(self._contexts, own, strict=True):
            region = region.to(context).expand(len(x), -1, -1)
            same = region.shape == context.shape
            answer = attend(x, torch.where(rows, region, context) if same else region)
            mixed = mixed + share * answer
            plain = answer if plain is None and same else plain
        return torch.where(rows, mixed, attend(x, context) if plain is None else plain)

    def _at(self, x: Tensor) -> Tensor:
        """The shares at the resolution of a layer: (1 + r, n, 1)."""
        count = x.shape[1]
        if count not in self._by_size:
            fitted = F.adaptive_avg_pool2d(self._shares[None], layer_size(self._shares, count))[0]
            self._by_size[count] = fitted.flatten(1)[..., None].to(x)
        return self._by_size[count]


def layer_size(shares: Tensor, count: int) -> tuple[int, int]:
    """(h, w) of the layer with so many places: each level of a U-Net halves the sides and rounds up.

    Raises:
        ValueError: no level has so many.
    """
    height, width = shares.shape[-2:]
    while height * width != count:
        if height * width < count or (height, width) == (1, 1):
            raise ValueError(f"no level of the U-Net has {count} places")
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def composed(s: StepContext, shares: Tensor) -> Tensor:
    """The guided output (c h w) of prompts with these shares (1 + r, h, w); the last r conds are the regions'.

    Outputs are averaged in the place of predictions: at one x the one is a linear function of the other.
    """
    guidance: Guidance = s.guidance
    weights = [weight for _, weight in guidance.conds]
    shares = shares.to(s.conds[0])
    first = len(s.conds) - (len(shares) - 1)
    parts = [shares[0]] * first + list(shares[1:])
    if s.uncond is None:
        return sum((part * cond for part, cond in zip(parts, s.conds, strict=True)), torch.zeros_like(s.x))
    pulls = zip(parts, weights, s.conds, strict=True)
    pull = sum((part * weight * (cond - s.uncond) for part, weight, cond in pulls), torch.zeros_like(s.x))
    guided = s.uncond + guidance.cfg_scale * pull
    return rescale(guided, s.uncond + pull, guidance.rescale) if guidance.rescale else guided
