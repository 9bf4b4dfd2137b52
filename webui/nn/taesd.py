"""The tiny autoencoder TAESD, which turns latents into pictures a hundred times faster than a VAE.

Architecture and names are those of https://github.com/madebyollin/taesd (MIT), whose latents are the U-Net's own, not
scaled, and whose pictures lie in 0..1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BOUND = 3.0
"""Latents lie mostly within it."""


class TinyDecoder(nn.Sequential):
    """Latent (b c h w), scaled as the U-Net sees it -> picture (b 3 8h 8w), about 0..1."""

    def __init__(self, channels: int = 4, width: int = 64) -> None:
        super().__init__(
            Bound(), conv(channels, width), relu(),
            *blocks(3, width), nn.Upsample(scale_factor=2), conv(width, width, bias=False),
            *blocks(3, width), nn.Upsample(scale_factor=2), conv(width, width, bias=False),
            *blocks(3, width), nn.Upsample(scale_factor=2), conv(width, width, bias=False),
            *blocks(1, width), conv(width, 3),
        )  # fmt: skip


class Bound(nn.Module):
    """Keeps single extreme values from spoiling a whole picture: (b c h w) -> (b c h w)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / BOUND) * BOUND


class TinyBlock(nn.Module):
    """Three convolutions, the input added at the end: (b c h w) -> (b c h w). No norms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(width, width), relu(), conv(width, width), relu(), conv(width, width))
        self.fuse = relu()

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fuse(self.conv(x) + x)
        return fused


def blocks(count: int, width: int) -> tuple[TinyBlock, ...]:
    return tuple(TinyBlock(width) for _ in range(count))


def conv(channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias)


def relu() -> nn.ReLU:
    """In place: at the picture's full size every tensor less counts."""
    return nn.ReLU(inplace=True)
