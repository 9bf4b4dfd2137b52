"""Rough pictures of latents while they are drawn."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.kinds import TINY
from webui.diffusion.preview import latent_to_rgb
from webui.engine.telling import Telling
from webui.pipeline.tensors import tensor_to_image
from webui.schema.errors import AtelierError
from webui.schema.names import PreviewMethod

INTERVAL = 0.4
"""Seconds between previews: often enough to follow."""
SHARE, FREE = 0.05, 0.5
"""What previews may take of a job's time, beside the first so many seconds."""
CURE = "python3 launch.py models list says what is there."
SHOWN = 4
SMALLEST_SIDE = 256
LONGEST_SIDE = 2048

Draw = Callable[[Sequence[Tensor]], list[Tensor]]
"""Latents (c h w) -> pictures (3 h' w') in 0..1."""


class Source(Protocol):
    """The model that draws now, as previews need it (`webui.engine.models.Models`)."""

    @property
    def preview_factors(self) -> Tensor | None:
        """As `latent_to_rgb` takes them."""

    def tiny_preview(self) -> Draw | None:
        """By a tiny decoder; None where none is at hand that fits. What it gives may raise anything."""


@dataclass
class Clock:
    """When previews are due. now: the time in seconds; spent: what they have taken of it."""

    now: Callable[[], float]
    begun: float
    last: float = float("-inf")
    spent: float = 0.0

    @property
    def due(self) -> bool:
        now = self.now()
        return now - self.last >= INTERVAL and self.spent <= FREE + SHARE * (now - self.begun)

    def add(self, begun: float) -> None:
        """A preview took from then until now."""
        self.last = self.now()
        self.spent += self.last - begun


class Previewer:
    """Draws the previews of one job, no more than are due. Where a tiny decoder fails, the user is told why and the
    linear map draws."""

    def __init__(
        self, source: Source, method: PreviewMethod, telling: Telling, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._method = method
        self._telling = telling
        self._clock = Clock(now, now())
        self._failed = False

    @property
    def due(self) -> bool:
        return self._method != "none" and self._clock.due

    def draw(self, latents: Sequence[Tensor]) -> tuple[bytes, int, int]:
        """Predicted clean latents (c h w) -> JPEG bytes, width, height; pictures of a batch stand side by side."""
        begun = self._clock.now()
        shown = latents[:SHOWN]
        pictures = self._by_tiny(shown) or self._by_factors(shown)
        image = enlarged(tensor_to_image(torch.cat(pictures, dim=2)))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=80)
        self._clock.add(begun)
        return data.getvalue(), image.width, image.height

    def _by_tiny(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Empty where it is not wanted, not at hand, or has failed in this job: a preview is never worth a picture."""
        if self._method == "linear" or self._failed:
            return []
        try:
            draw = self._source.tiny_preview()
            if draw is not None:
                return self._telling.timed("preview", partial(draw, latents))
            if self._method == "tiny":
                raise AtelierError(f"There is no tiny autoencoder for this checkpoint in {TINY}.", CURE)
            return []
        except Exception as error:
            self._failed = True
            said = error if isinstance(error, AtelierError) else f"{type(error).__name__}: {error}".splitlines()[0]
            self._telling.note(f"The previews of this job are rough: {said}")
            return []

    def _by_factors(self, latents: Sequence[Tensor]) -> list[Tensor]:
        factors = self._source.preview_factors
        return [latent_to_rgb(latent.float().cpu(), factors) for latent in latents]


def enlarged(image: Image.Image) -> Image.Image:
    """Large enough to be looked at: a latent has an eighth of the picture's side. JPEG holds 65500 pixels a side."""
    scale = max(1, min(-(-SMALLEST_SIDE // image.height), LONGEST_SIDE // max(image.size)))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
