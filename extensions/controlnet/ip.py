"""IP-Adapter (Ye et al. 2023, arXiv:2308.06721): a picture as a further prompt, by keys and values of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webui.ext import Base, ControlAdapter, ControlInfo, Header, Hint, Match, Residuals, UnetRows, filled

from .nets import matched

HEAD_WIDTH = 64
"""Of the resampler's attentions, in every published file."""


class ImageProjection(nn.Module):
    """The plain kind: an image embedding (b e) -> a few tokens (b n d)."""

    def __init__(self, embedding: int, width: int, tokens: int) -> None:
        super().__init__()
        self.width = width
        self.proj = nn.Linear(embedding, tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.norm(self.proj(embedding).unflatten(1, (-1, self.width)))


class PerceiverAttention(nn.Module):
    """Latents that read the picture's tokens and themselves (Alayrac et al. 2022, arXiv:2204.14198, section 3.1.1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * HEAD_WIDTH
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """x: (b m w), latents: (b n w) -> (b n w)."""
        latents = self.norm2(latents)
        seen = torch.cat([self.norm1(x), latents], dim=1)
        q, (k, v) = self.to_q(latents), self.to_kv(seen).chunk(2, dim=-1)
        q, k, v = (part.unflatten(2, (self.heads, HEAD_WIDTH)).transpose(1, 2) for part in (q, k, v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Resampler(nn.Module):
    """The plus kind: hidden states of the picture (b m e) -> tokens (b n d)."""

    def __init__(self, embedding: int, width: int, out: int, queries: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(1, queries, width))
        self.proj_in = nn.Linear(embedding, width)
        self.proj_out = nn.Linear(width, out)
        self.norm_out = nn.LayerNorm(out)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, heads), feed_forward(width, hidden)]) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj_in(x)
        latents = self.latents.expand(len(x), -1, -1)
        for attention, forward in self.layers:  # type: ignore[misc]
            latents = latents + attention(x, latents)
            latents = latents + forward(latents)
        return self.norm_out(self.proj_out(latents))


def feed_forward(width: int, hidden: int) -> nn.Sequential:
    """Norm, wider, GELU, back: (b n w) -> (b n w)."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False)
    )


class KeysAndValues(nn.Module):
    """The projections of one cross-attention: (b n d) -> (b n c), twice."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(width, channels, bias=False)
        self.to_v_ip = nn.Linear(width, channels, bias=False)


class Network(nn.Module):
    """A file's network, by its names; `image_proj` is the projection, `ip_adapter` the layers by odd numbers."""

    def __init__(self, projection: nn.Module, layers: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.image_proj = projection
        self.ip_adapter = nn.ModuleDict({number: KeysAndValues(*shape) for number, shape in layers.items()})


@dataclass(frozen=True)
class Tokens:
    """What the prompt's rows and the others attend to, (1 n d) each."""

    cond: Tensor
    uncond: Tensor


class IPAdapter(ControlAdapter):
    """Keys and values of the picture's tokens, for every cross-attention. What CLIP sees in the picture comes as the
    map's data, from one of this extension's preprocessors."""

    def __init__(self, network: Network, layers: Mapping[str, str]) -> None:
        self.network = network
        self.layers = dict(layers)

    @classmethod
    def probe(cls, header: Header) -> Match | None:
        match = matched(header, "IP-Adapter")
        return None if match is None else replace(match, hint="source", attends=True)

    @classmethod
    def load(cls, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Self:
        info: ControlInfo = match.facts["info"]
        names = [name for name in weights if name.endswith(".to_k_ip.weight")]
        shapes = {name.split(".")[1]: (weights[name].shape[1], weights[name].shape[0]) for name in names}
        make = resampler_of(weights) if info.plus else projection_of(weights)
        network = filled(lambda: Network(make(), shapes), weights, base.dtype, device)
        return cls(network, numbered(base, shapes))

    def prepare(self, hint: Hint) -> Tokens:
        """The picture's tokens; the other rows see those of no picture."""
        if not isinstance(hint.data, Mapping) or "embeds" not in hint.data:
            raise ValueError("an IP-Adapter needs the preprocessor ip_adapter_clip_h or ip_adapter_clip_g")
        parameter = next(self.network.parameters())
        plus = isinstance(self.network.image_proj, Resampler)
        seen = torch.as_tensor(np.asarray(hint.data["hidden" if plus else "embeds"])).to(parameter)
        nothing = torch.as_tensor(np.asarray(hint.data["hidden_of_nothing"])).to(parameter) if plus else seen * 0
        return Tokens(self.network.image_proj(seen), self.network.image_proj(nothing))

    def residuals(self, call: UnetRows, prepared: Tokens) -> Residuals:
        tokens = torch.cat([prepared.cond if cond else prepared.uncond for cond in call.is_cond]).to(call.context)
        layers = {name: self.network.ip_adapter[number] for name, number in self.layers.items()}
        return Residuals(
            keys_values={name: (layer.to_k_ip(tokens), layer.to_v_ip(tokens)) for name, layer in layers.items()}
        )

    def modules(self) -> tuple[nn.Module, ...]:
        return (self.network,)


def numbered(base: Base, numbers: Mapping[str, Any]) -> dict[str, str]:
    """Cross-attention -> its number in the file: odd ones, counted over the encoder, the decoder, then the middle."""
    cross = [name for name in base.attentions if name.endswith("attn2")]
    middle = [name for name in cross if name.startswith("middle_block")]
    ordered = [name for name in cross if name not in middle] + middle
    return dict(zip(ordered, sorted(numbers, key=int), strict=True))


def projection_of(weights: Mapping[str, Tensor]) -> Callable[[], nn.Module]:
    """The plain projection that a file holds."""
    rows, embedding = weights["image_proj.proj.weight"].shape
    width = weights["image_proj.norm.weight"].shape[0]
    return lambda: ImageProjection(embedding, width, rows // width)


def resampler_of(weights: Mapping[str, Tensor]) -> Callable[[], nn.Module]:
    """The resampler that a file holds."""
    _, queries, width = weights["image_proj.latents"].shape
    embedding, out = weights["image_proj.proj_in.weight"].shape[1], weights["image_proj.proj_out.weight"].shape[0]
    depth = sum(name.endswith(".0.to_q.weight") for name in weights)
    heads = weights["image_proj.layers.0.0.to_q.weight"].shape[0] // HEAD_WIDTH
    hidden = weights["image_proj.layers.0.1.1.weight"].shape[0]
    return lambda: Resampler(embedding, width, out, queries, depth, heads, hidden)
