"""Rough pictures of latents while they are drawn."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from webui.diffusion.preview import latent_to_rgb
from webui.pipeline.tensors import tensor_to_image

INTERVAL = 0.4
"""Seconds between previews: often enough to follow, rare enough to cost nothing."""
SHOWN = 4
SMALLEST_SIDE = 256
LONGEST_SIDE = 2048


class Previewer:
    """Draws at most one preview per interval. factors: of the model that draws now, as `latent_to_rgb` takes them."""

    def __init__(self, factors: Callable[[], Tensor | None]) -> None:
        self._factors = factors
        self._last = 0.0

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= INTERVAL

    def draw(self, latents: Sequence[Tensor]) -> tuple[bytes, int, int]:
        """Predicted clean latents (c h w) -> JPEG bytes, width, height; pictures of a batch stand side by side."""
        self._last, factors = time.monotonic(), self._factors()
        rows = [latent_to_rgb(latent.float().cpu(), factors) for latent in latents[:SHOWN]]  # (3 h w) in 0..1
        image = enlarged(tensor_to_image(torch.cat(rows, dim=2)))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=80)
        return data.getvalue(), image.width, image.height


def enlarged(image: Image.Image) -> Image.Image:
    """Large enough to be looked at: a latent has an eighth of the picture's side. JPEG holds 65500 pixels a side."""
    scale = max(1, min(-(-SMALLEST_SIDE // image.height), LONGEST_SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
