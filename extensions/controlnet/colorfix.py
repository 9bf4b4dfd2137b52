"""Colours of a picture kept while its details are drawn anew: the prediction's low frequencies are the picture's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from webui.ext import LoneUnit, PassContext, StepContext

ID = "tile_colorfix"
VARIATION = 8


@dataclass
class Kept:
    """The units of a pass and the latents (c h w) of their pictures."""

    units: list[tuple[LoneUnit, Tensor]] = field(default_factory=list)


def picture(image: np.ndarray, *, variation: int) -> np.ndarray:
    """The picture as it is; `variation` is for the drawing."""
    return image


def begin(p: PassContext, unit: LoneUnit) -> None:
    """Remember the picture's latent for this pass."""
    p.state(Kept).units.append((unit, p.encode_image(unit.hint.image[0].float() * 2 - 1)))


def fixed(s: StepContext) -> Tensor:
    """x0 - blur(x0) + blur(z), mixed by weight and region, for each unit that acts in this step: (c h w)."""
    denoised = s.denoised
    for unit, latent in s.state(Kept).units:
        if unit.active(s.step, s.steps):
            radius = int(unit.settings.params.get("variation", VARIATION)) * (2 if unit.hires else 1)
            kept = denoised - blurred(denoised, radius) + blurred(latent.to(denoised), radius)
            share = unit.settings.weight
            if unit.region is not None:
                share = share * F.interpolate(unit.region.float(), denoised.shape[-2:], mode="bilinear")[0].to(denoised)
            change = (kept - denoised) * share
            unit.tell(s.step, change, denoised)
            denoised = denoised + change
    return denoised


def blurred(x: Tensor, radius: int) -> Tensor:
    """The mean over a square of 2 radius + 1 pixels, the rim repeated: (c h w)."""
    padded = F.pad(x[None], (radius,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * radius + 1, stride=1)[0]
