"""How many bytes work takes beside the weights. Rules of thumb, corrected by what a device measured.

Both count numbers per pixel. A U-Net's peak lies in its finest level, where skips, the joined input of a block and the
four times as wide feed-forward layer stand at once: about 100 numbers for each of the model's base channels per latent
pixel and row (SD 1.5 and SDXL measured within 85 to 125, see docs/memory.md). A decoder's peak lies in its last level:
about 6 numbers for each of its base channels per pixel of the picture; the encoder's is the same turned round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from webui.nn.config import ModelConfig

UNET_NUMBERS = 100
VAE_NUMBERS = 6
TEXT_BYTES = 64 * 1024**2
WORKSPACE = 256 * 1024**2
"""What libraries of a GPU take for themselves."""
LEAST_CORRECTION, MOST_CORRECTION = 0.5, 3.0


@dataclass(frozen=True)
class Shape:
    """The largest pass of a job. width, height: in pixels; rows: of one U-Net call."""

    width: int
    height: int
    rows: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def unet_bytes(config: ModelConfig, shape: Shape, itemsize: int) -> int:
    """Of one U-Net call. itemsize: bytes of a number."""
    latent = shape.pixels // config.vae.downscale**2
    return UNET_NUMBERS * config.unet.model_channels * latent * shape.rows * itemsize


def vae_bytes(config: ModelConfig, pixels: int, itemsize: int) -> int:
    """Of encoding or decoding one picture of so many pixels."""
    return VAE_NUMBERS * config.vae.channels * pixels * itemsize


@dataclass
class Corrections:
    """What the device measured beside the estimates: by family and kind of work, measured / estimated."""

    found: dict[tuple[str, str], float] = field(default_factory=dict)

    def of(self, family: str, kind: str) -> float:
        return self.found.get((family, kind), 1.0)

    def measured(self, family: str, kind: str, bytes: int, estimate: int) -> None:
        """A peak of so many bytes where the uncorrected estimate was another."""
        if bytes > 0 and estimate > 0:
            ratio = min(max(bytes / estimate, LEAST_CORRECTION), MOST_CORRECTION)
            self.found[family, kind] = ratio
