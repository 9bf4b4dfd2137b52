"""Attention and the spatial transformer. Attribute names are the checkpoint's (ldm/modules/attention.py)."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from webui.nn.taps import Taps

M = TypeVar("M", bound=nn.Module)

TRANSFORMER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head attention of x over a context (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2)."""

    PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(self, channels: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.name = ""  # its name in the U-Net, by which taps find it
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_dim, channels, bias=False)
        self.to_v = nn.Linear(context_dim, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(0.0))

    def forward(self, x: Tensor, context: Tensor, taps: Taps | None = None) -> Tensor:
        """x: (b n c), context: (b m d) -> (b n c)."""
        if taps is not None and self.name in taps.attentions:
            return taps.attentions[self.name](partial(self.attend, taps=taps), x, context)
        return self.attend(x, context, taps)

    def attend(self, x: Tensor, context: Tensor, taps: Taps | None = None) -> Tensor:
        """The attention itself, with the further keys and values of `taps`: (b n c), (b m d) -> (b n c)."""
        q = self.split(self.to_q(self.tapped("to_q", x, taps)))
        k = self.split(self.to_k(self.tapped("to_k", context, taps)))
        v = self.split(self.to_v(self.tapped("to_v", context, taps)))
        out = merge(F.scaled_dot_product_attention(q, k, v))
        for extra in taps.keys_values.get(self.name, ()) if taps is not None else ():
            further = F.scaled_dot_product_attention(q, self.split(extra.keys), self.split(extra.values))
            added = extra.weight * merge(further)
            if extra.watch is not None:
                extra.watch(added, out)
            out = out + added
        return self.to_out[0](self.tapped("to_out.0", out, taps))

    def tapped(self, projection: str, x: Tensor, taps: Taps | None) -> Tensor:
        """The input of a projection: (b n c) -> (b n c)."""
        tap = taps.inputs.get(f"{self.name}.{projection}") if taps is not None else None
        return x if tap is None else x + tap(x)

    def split(self, x: Tensor) -> Tensor:
        """(b n c) -> (b heads n d)."""
        b, n, c = x.shape
        return x.view(b, n, self.heads, c // self.heads).transpose(1, 2)


def merge(x: Tensor) -> Tensor:
    """(b heads n d) -> (b n c)."""
    return x.transpose(1, 2).flatten(2)


class GEGLU(nn.Module):
    """Gated linear unit with GELU (Shazeer 2020, arXiv:2002.05202, eq. 6)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, hidden * 2)

    def forward(self, x: Tensor) -> Tensor:
        """(b n c) -> (b n hidden)."""
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """Two linear layers, four times as wide between them: (b n c) -> (b n c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GEGLU(channels, channels * 4),
            nn.Dropout(0.0),
            nn.Linear(channels * 4, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention over the context, feed-forward; each behind its norm and added to x.

    cross_only: the first attention reads the context too (the x4 upscaler's finer levels, which pixels are too many).
    """

    def __init__(self, channels: int, context_dim: int, heads: int, cross_only: bool = False) -> None:
        super().__init__()
        self.cross_only = cross_only
        self.attn1 = Attention(channels, context_dim if cross_only else channels, heads)
        self.ff = FeedForward(channels)
        self.attn2 = Attention(channels, context_dim, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, context: Tensor, taps: Taps | None = None) -> Tensor:
        """x: (b n c), context: (b m d) -> (b n c)."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, context if self.cross_only else normed, taps)
        x = x + self.attn2(self.norm2(x), context, taps)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the pixels of a feature map, added to it; begins as the identity."""

    def __init__(
        self,
        channels: int,
        context_dim: int,
        heads: int,
        depth: int,
        linear_projection: bool,
        norm_groups: int,
        cross_only: bool = False,
    ) -> None:
        super().__init__()
        self.linear_projection = linear_projection
        self.norm = nn.GroupNorm(norm_groups, channels, eps=TRANSFORMER_NORM_EPS)
        self.proj_in = nn.Linear(channels, channels) if linear_projection else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, context_dim, heads, cross_only) for _ in range(depth)
        )
        self.proj_out = zeroed(nn.Linear(channels, channels) if linear_projection else nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, context: Tensor, taps: Taps | None = None) -> Tensor:
        """x: (b c h w), context: (b m d) -> (b c h w)."""
        h, w = x.shape[-2:]
        out = self.norm(x)
        if self.linear_projection:
            out = self.proj_in(to_tokens(out))
        else:
            out = to_tokens(self.proj_in(out))
        for block in self.transformer_blocks:
            out = block(out, context, taps)
        if self.linear_projection:
            return x + to_map(self.proj_out(out), h, w)
        return x + self.proj_out(to_map(out, h, w))


def to_tokens(x: Tensor) -> Tensor:
    """(b c h w) -> (b hw c); a view where x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(x: Tensor, h: int, w: int) -> Tensor:
    """(b hw c) -> (b c h w), channels-last in memory."""
    return x.unflatten(1, (h, w)).permute(0, 3, 1, 2)


def zeroed(module: M) -> M:
    """The module with every parameter zero: a layer that adds nothing until it has learnt to."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
