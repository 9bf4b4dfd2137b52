"""Parts of the U-Net. Attribute names are the checkpoint's (ldm/modules/diffusionmodules/openaimodel.py)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webui.nn.attention import SpatialTransformer, zeroed
from webui.nn.taps import Taps

RES_NORM_EPS = 1e-5
MAX_PERIOD = 10000.0


def timestep_embedding(timesteps: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Sinusoids of the (possibly fractional) timesteps, cosines first: (b,) -> (b dim).

    Frequencies fall geometrically from 1 to 1/10000 (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).
    Half precision cannot hold timestep 999.5, so the arithmetic is float32, or float64 when `dtype` is.
    """
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    half = dim // 2
    steps = torch.arange(half, dtype=exact, device=timesteps.device)
    frequencies = torch.exp(steps * (-math.log(MAX_PERIOD) / half))  # (dim/2,)
    angles = timesteps.to(exact)[:, None] * frequencies[None]  # (b dim/2)
    embedding = torch.cat([angles.cos(), angles.sin()], dim=-1)
    return F.pad(embedding, (0, dim % 2)).to(dtype)


class ResBlock(nn.Module):
    """Two convolutions, the timestep embedding added between them, the input added at the end."""

    def __init__(self, channels: int, out_channels: int, emb_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(norm_groups, channels, eps=RES_NORM_EPS),
            nn.SiLU(),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(norm_groups, out_channels, eps=RES_NORM_EPS),
            nn.SiLU(),
            nn.Dropout(0.0),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x: (b c h w), emb: (b e) -> (b out h w)."""
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Downsample(nn.Module):
    """Halve both sides (rounding up) by a strided convolution: (b c h w) -> (b c h/2 w/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Enlarge by nearest neighbour, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """x: (b c h w) -> (b c *size)."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class Block(nn.Sequential):
    """One entry of `input_blocks` or `output_blocks`: layers in a row, each given what it takes."""

    name = ""  # its name in the U-Net, by which taps find its layers

    def forward(  # type: ignore[override]
        self, h: Tensor, emb: Tensor, context: Tensor, size: tuple[int, int], taps: Taps | None = None
    ) -> Tensor:
        """h: (b c h w), emb: (b e), context: (b m d), size: what an `Upsample` enlarges to -> (b c' h' w')."""
        for i, layer in enumerate(self):
            if isinstance(layer, ResBlock):
                h = layer(h, emb)
            elif isinstance(layer, SpatialTransformer):
                h = layer(h, context, taps)
            elif isinstance(layer, Upsample):
                h = layer(h, size)
            else:
                h = layer(h)
            if taps is not None and (tap := taps.blocks.get(f"{self.name}.{i}")) is not None:
                h = tap(h)
        return h
