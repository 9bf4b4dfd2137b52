"""ControlNet-Union for SDXL (https://github.com/xinsir6/ControlNetPlus): one network for many kinds of hint.

The kinds in use are told to the network twice: as a vector beside the timestep, and as an embedding of each hint. A
transformer over one token per hint says what is added to each channel of its features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from webui.nn.blocks import timestep_embedding
from webui.nn.controlnet import ControlNet, ControlNetConfig, resized
from webui.nn.unet import emb_width, embedding_mlp, size_of

TYPE_EMBEDDING = 256
HEADS = 8


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x) (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class TokenBlock(nn.Module):
    """Attention and a feed-forward net over the hints' tokens: (b n c) -> (b n c).

    In the published code, by which the weights were made, the attention runs over the rows of the batch, not over the
    tokens. The rows of one picture hold the same latent, so each token sees itself: that is done here, whatever else
    is in the batch.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, width * 4))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(width * 4, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x).reshape(1, -1, x.shape[-1])
        x = x + self.attn(normed, normed, normed, need_weights=False)[0].view_as(x)
        return x + self.mlp(self.ln_2(x))


class ControlNetUnion(ControlNet):
    """A ControlNet of `types` kinds of hint. Names beside the ControlNet's own are diffusers'."""

    def __init__(self, config: ControlNetConfig, types: int) -> None:
        super().__init__(config)
        width, self.types = config.unet.model_channels, types
        self.task_embedding = nn.Parameter(torch.zeros(types, width))
        self.transformer_layes = nn.Sequential(TokenBlock(width, HEADS))
        self.spatial_ch_projs = nn.Linear(width, width)
        mlp = embedding_mlp(types * TYPE_EMBEDDING, emb_width(config.unet))
        self.control_add_embedding = nn.ModuleDict({"linear_1": mlp[0], "linear_2": mlp[2]})

    def union(
        self,
        x: Tensor,
        features: Sequence[Tensor],
        types: Sequence[int],
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None,
    ) -> tuple[list[Tensor], Tensor]:
        """As `ControlNet.forward`, with the features (1 or b, c, h w) and the kind of each hint."""
        emb = self.embed(timesteps, y, x.dtype) + self.type_embedding(types, x)
        (fused,) = [
            self.fused(first(x, emb, context, size_of(x)), features, types)
            for first in self.lender.each(self.blocks[:1])
        ]
        return self.residuals(x, fused, emb, context)

    def type_embedding(self, types: Sequence[int], x: Tensor) -> Tensor:
        """Which kinds are in use, as a vector for all rows: (1 e)."""
        used = torch.zeros(self.types, device=x.device)
        used[list(types)] = 1
        embedded = timestep_embedding(used, TYPE_EMBEDDING, x.dtype).reshape(1, -1)
        hidden = nn.functional.silu(self.control_add_embedding["linear_1"](embedded))
        out: Tensor = self.control_add_embedding["linear_2"](hidden)
        return out

    def fused(self, h: Tensor, features: Sequence[Tensor], types: Sequence[int]) -> Tensor:
        """The sum of all hints' features, each shifted by what the transformer says: (b c h w)."""
        sized = [resized(feature, size_of(h)).expand(len(h), -1, -1, -1) for feature in features]
        tokens = [
            feature.mean(dim=(2, 3)) + self.task_embedding[kind] for feature, kind in zip(sized, types, strict=True)
        ]
        seen = self.transformer_layes(torch.stack([*tokens, h.mean(dim=(2, 3))], dim=1))  # (b hints+1 c)
        shifts = self.spatial_ch_projs(seen)
        return torch.stack([feature + shifts[:, i, :, None, None] for i, feature in enumerate(sized)]).sum(dim=0)
