"""A rough picture of a latent, by one linear map from its channels to red, green and blue.

The map is a tensor of factors (c + 1, 3): a row of r, g, b in -1..1 per latent channel, and a last row added to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

# measured on many pictures by the users of these models; a checkpoint's header may bring its own
_SD: Final = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
    (0.0, 0.0, 0.0),
)
_SDXL: Final = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
    (0.1084, -0.0175, -0.0011),
)
_BY_FAMILY: Final[Mapping[str, tuple[tuple[float, ...], ...]]] = {
    "sd1": _SD, "sd2": _SD, "sdxl": _SDXL, "sdxl_refiner": _SDXL,
}  # fmt: skip


def family_factors(family: str) -> Tensor | None:
    """Factors (c + 1, 3) of a model family's own VAE, where they are known."""
    return torch.tensor(_BY_FAMILY[family]) if family in _BY_FAMILY else None


def latent_to_rgb(latent: Tensor, factors: Tensor | None) -> Tensor:
    """Latent (c h w), scaled as the U-Net sees it -> (3 h w) in 0..1, one pixel per latent pixel.

    Without factors, or with those of another number of channels, the first channels stand in for the colours.
    """
    if factors is None or len(factors) != len(latent) + 1:
        rgb = latent[torch.arange(3) % len(latent)] / 3  # a latent's values lie mostly within 3
    else:
        factors = factors.to(latent)
        rgb = torch.einsum("chw,cr->rhw", latent, factors[:-1]) + factors[-1][:, None, None]
    return ((rgb + 1) / 2).nan_to_num(0.5).clamp(0, 1)


def fit_factors(latents: Tensor, pictures: Tensor) -> Tensor:
    """Least squares from latents (b c h w) to pictures (b 3 h w) in -1..1 of the same h, w -> factors (c + 1, 3)."""
    rows = latents.movedim(1, -1).flatten(0, -2).double()  # (bhw c)
    rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
    return torch.linalg.lstsq(rows, pictures.movedim(1, -1).flatten(0, -2).double()).solution
