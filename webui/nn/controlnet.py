"""ControlNet (Zhang et al. 2023, arXiv:2302.05543), with the checkpoint's (ldm) key names.

It is the U-Net's encoder and middle once more. What a hint adds to its first layer comes out behind every block as a
residual, through convolutions that are zero until they are trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from webui.nn.attention import zeroed
from webui.nn.blocks import Block
from webui.nn.config import UNetConfig
from webui.nn.unet import Encoder, plus, size_of, skip_widths


@dataclass(frozen=True)
class ControlNetConfig:
    """unet: the encoder that is copied. hint_channels: of the picture that steers (RGB). hint_widths: channels of the
    hint block's levels, each of half the size of the one before; as many halvings as the autoencoder has.
    short_middle: the middle is one residual block alone, as in the small nets for SDXL."""

    unet: UNetConfig = field(default_factory=UNetConfig)
    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    short_middle: bool = False


class ControlNet(Encoder):
    """Noisy latent, hint and prompt -> one residual per input block and one for the middle."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config.unet)
        self.control = config
        if config.short_middle:
            self.middle_block = Block(self.middle_block[0])
        self.input_hint_block = hint_block(config)
        self.zero_convs = nn.ModuleList(nn.Sequential(zero_conv(width)) for width in skip_widths(config.unet))
        self.middle_block_out = nn.Sequential(zero_conv(config.unet.widths[-1]))

    def forward(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """x: (b c h w) as the U-Net gets it, hint: (b or 1, 3, 8h 8w) in 0..1, timesteps: (b,), context: (b n d).

        Returns the residuals of the skips, one (b c' h' w') per input block, and that of the middle.
        """
        return self.residuals(x, self.input_hint_block(hint), self.embed(timesteps, y, x.dtype), context)

    def residuals(self, x: Tensor, features: Tensor, emb: Tensor, context: Tensor) -> tuple[list[Tensor], Tensor]:
        """As `forward`, with the hint's features (b or 1, c h w), the same all over a pass, and the embedding (b e)."""
        residuals: list[Tensor] = []
        h = x
        for block, zero in zip(self.lender.each(self.blocks), [*self.zero_convs, self.middle_block_out], strict=True):
            h = block(h, emb, context, size_of(h))
            if not residuals:
                h = plus(h, resized(features, size_of(h)))
            residuals.append(zero(h))
        return residuals[:-1], residuals[-1]


def hint_block(config: ControlNetConfig) -> nn.Sequential:
    """The convolutions from the hint's pixels to the latent's: (b 3 8h 8w) -> (b c h w)."""
    widths = config.hint_widths
    layers: list[nn.Module] = [conv(config.hint_channels, widths[0]), nn.SiLU(), conv(widths[0], widths[0]), nn.SiLU()]
    for finer, coarser in pairwise(widths):
        layers += [conv(finer, coarser, stride=2), nn.SiLU()]
        layers += [conv(coarser, coarser), nn.SiLU()] if coarser != widths[-1] else []
    return nn.Sequential(*layers, zeroed(conv(widths[-1], config.unet.model_channels)))


def conv(channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size, or halves it."""
    return nn.Conv2d(channels, out_channels, 3, padding=1, stride=stride)


def zero_conv(channels: int) -> nn.Conv2d:
    """A 1 x 1 convolution that begins with zero."""
    return zeroed(nn.Conv2d(channels, channels, 1))


def resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features at another size by nearest neighbour: (b c h w)."""
    return features if size_of(features) == size else F.interpolate(features, size=size, mode="nearest")
