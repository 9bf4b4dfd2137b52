"""The tiny decoder that draws the previews of whatever model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.tiny import TinyCatalogue, TinyFile
from webui.checkpoints.tiny_load import load_tiny_decoder
from webui.engine.devices import Placement
from webui.nn.config import VAEConfig
from webui.nn.taesd import TinyDecoder
from webui.schema.errors import NumericError

AREA, AREA_ON_CPU = 128 * 128, 32 * 32
"""Latent pixels of all pictures of a preview together: larger ones are shrunk first."""


class TinyDecoders:
    """Reads a decoder (5 MB) from its file when a preview first asks for it, and keeps it until another is wanted or
    `release` is called."""

    def __init__(self, catalogue: TinyCatalogue, placement: Placement) -> None:
        self._catalogue = catalogue
        self._placement = placement
        self._held: tuple[Path, Stamp, TinyDecoder] | None = None

    def file(self, vae: VAEConfig) -> TinyFile | None:
        """The file for checkpoints with this VAE; None where there is none."""
        return self._catalogue.decoder(vae)

    def draw(self, file: TinyFile, latents: Sequence[Tensor]) -> list[Tensor]:
        """Latents (c h w) of one size, scaled as the U-Net sees them -> pictures (3 8h 8w) in 0..1 on the CPU, smaller
        where the latents are large.

        Raises:
            ModelError, OSError: the file cannot be used. NumericError: it gives NaN. RuntimeError: out of memory.
        """
        decoder = self._decoder(file)
        images = [decoder(latent.to(self._placement.dtype)) for latent in self._shrunk(torch.stack([*latents]))]
        found = [image[0].float().cpu() for image in images]
        if not all(torch.isfinite(image).all() for image in found):
            raise NumericError(f"{file.path.name} gives NaN.", "Download it again.")
        return [image.clamp(0, 1) for image in found]

    def release(self) -> None:
        """Let the decoder go; it is read again when a preview asks for it."""
        self._held = None

    def _decoder(self, file: TinyFile) -> TinyDecoder:
        stamp = stamp_of(file.path)
        if self._held is None or self._held[:2] != (file.path, stamp):
            self._held = None
            decoder = load_tiny_decoder(file.path, self._placement.dtype, self._placement.device)
            self._held = (file.path, stamp, decoder)
        return self._held[2]

    def _shrunk(self, latents: Tensor) -> tuple[Tensor, ...]:
        """(b c h w) -> b of (1 c h' w'), no larger together than what a preview may cost."""
        area = AREA_ON_CPU if self._placement.device.type == "cpu" else AREA
        share = (area / (len(latents) * latents.shape[-2] * latents.shape[-1])) ** 0.5
        if share < 1:
            size = [max(1, int(side * share)) for side in latents.shape[-2:]]
            latents = F.interpolate(latents, size, mode="bilinear", antialias=True)
        return latents.split(1)
