"""How many bytes work takes beside the weights. Rules of thumb, corrected by what a device measured.

Both count numbers per pixel. A U-Net's peak lies in its finest level, where skips, the joined input of a block and the
four times as wide feed-forward layer stand at once: about 100 numbers for each of the model's base channels per latent
pixel and row (docs/memory.md has the figures that this comes from). A decoder's peak lies in its last level: about 6
numbers for each of its base channels per pixel of the picture; the encoder's is the same turned round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from webui.nn.config import ModelConfig

UNET_NUMBERS = 100
VAE_NUMBERS = 6
TEXT_BYTES = 64 * 1024**2
LEAST_CORRECTION, MOST_CORRECTION = 0.5, 3.0


@dataclass(frozen=True)
class Work:
    """kind: what is alike in what it takes, "" where that is not followed; bytes: by the rule of thumb."""

    kind: str = ""
    bytes: int = 0


def unet_work(config: ModelConfig, width: int, height: int, rows: int, itemsize: int) -> Work:
    """One U-Net call. width, height: of the picture in pixels; itemsize: bytes of a number."""
    latent = width * height // config.vae.downscale**2
    return Work(f"U-Net of {config.family}", UNET_NUMBERS * config.unet.model_channels * latent * rows * itemsize)


def vae_work(config: ModelConfig, pixels: int, itemsize: int, way: str) -> Work:
    """Encoding or decoding (`way`) of one picture of so many pixels."""
    return Work(f"{way} of {config.family}", VAE_NUMBERS * config.vae.channels * pixels * itemsize)


@dataclass
class Corrections:
    """What was measured beside the rules: by kind of work, measured / estimated."""

    found: dict[str, float] = field(default_factory=dict)

    def of(self, work: Work) -> int:
        """The bytes of a work, as far as is known now."""
        return int(work.bytes * self.found.get(work.kind, 1.0))

    def measured(self, work: Work, bytes: int) -> None:
        """It took so many at its peak."""
        if work.kind and work.bytes > 0 and bytes > 0:
            self.found[work.kind] = min(max(bytes / work.bytes, LEAST_CORRECTION), MOST_CORRECTION)
