"""The denoising U-Net of SD 1.x, SD 2.x, SDXL and small models, with the checkpoint's (ldm) key names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webui.nn.attention import Attention, SpatialTransformer, zeroed
from webui.nn.blocks import RES_NORM_EPS, Block, Downsample, ResBlock, Upsample, timestep_embedding
from webui.nn.config import UNetConfig
from webui.nn.streaming import AtHand, Lender
from webui.nn.taps import Controls, KeysValues, TapNames, Taps

__all__ = ["Controls", "KeysValues", "Taps", "UNet"]


class Encoder(nn.Module):
    """The half that a U-Net and a ControlNet have in common: embedding, encoder and middle.

    lender: lends the blocks to `forward`, which may wait elsewhere until they are called.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.lender: Lender = AtHand()
        width, emb_channels = config.model_channels, emb_width(config)
        self.time_embed = embedding_mlp(width, emb_channels)
        if config.adm_channels is not None:
            self.label_emb: nn.Module = nn.Sequential(embedding_mlp(config.adm_channels, emb_channels))
        elif config.num_classes is not None:
            self.label_emb = nn.Embedding(config.num_classes, emb_channels)
        self.input_blocks = nn.ModuleList(Block(*layers) for layers in encoder_table(config))
        self.middle_block = Block(*middle_table(config))

    @property
    def blocks(self) -> Sequence[Block]:
        """In the order in which `forward` calls them."""
        return cast(list[Block], [*self.input_blocks, self.middle_block])

    def embed(self, timesteps: Tensor, y: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The condition of every residual block: timesteps (b,), y (b adm) or classes (b,) -> (b e)."""
        if (y is None) == self.config.takes_y:
            raise ValueError(
                f"y is {'missing' if y is None else 'given'}, adm_channels is {self.config.adm_channels}, "
                f"num_classes is {self.config.num_classes}"
            )
        emb: Tensor = self.time_embed(timestep_embedding(timesteps, self.config.model_channels, dtype))
        if y is None:
            return emb
        return emb + self.label_emb(y.long() if self.config.num_classes is not None else y.to(dtype))


class UNet(Encoder):
    """Latent diffusion's U-Net (Rombach et al. 2022, arXiv:2112.10752; Podell et al. 2023, arXiv:2307.01952)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        self.output_blocks = nn.ModuleList(Block(*layers) for layers in decoder_table(config))
        self.out = nn.Sequential(
            nn.GroupNorm(config.norm_groups, config.model_channels, eps=RES_NORM_EPS),
            nn.SiLU(),
            zeroed(nn.Conv2d(config.model_channels, config.out_channels, 3, padding=1)),
        )
        self.tap_names = give_names(self)

    @property
    def blocks(self) -> Sequence[Block]:
        return cast(list[Block], [*self.input_blocks, self.middle_block, *self.output_blocks])

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        controls: Controls | None = None,
        taps: Taps | None = None,
    ) -> Tensor:
        """x: (b c h w), timesteps: (b,) 0..999, context: (b n d), y: (b adm), or classes (b,) -> (b out h w).

        Raises ValueError when y is given to a model that takes none, or not given to one that does, and for taps on
        layers that the model does not have.
        """
        controls = controls or Controls()
        if taps is not None:
            self.tap_names.check(taps)
        emb = self.embed(timesteps, y, x.dtype)
        h, skips = x, []
        blocks = self.lender.each(self.blocks)
        for i in range(len(self.input_blocks)):
            h = next(blocks)(h, emb, context, size_of(h), taps)
            h = plus(h, controls.hidden.get(i))
            skips.append(h)
        h = next(blocks)(h, emb, context, size_of(h), taps)
        if controls.watch is not None:
            controls.watch(skips, h)
        h = plus(h, controls.middle)
        skips = with_residuals(skips, controls)
        for block in blocks:
            h = torch.cat([h, skips.pop()], dim=1)
            # an odd side was halved rounding up: the next skip knows the size to return to
            h = block(h, emb, context, size_of(skips[-1] if skips else h), taps)
        return self.out(h)


def encoder_table(config: UNetConfig) -> list[list[nn.Module]]:
    """Layers of each of `input_blocks`. SD 1.x, as (layer: channels):

    0: Conv 320   1, 2: Res + attention 320    3: Down 320   4, 5: Res + attention 640   6: Down 640
                  7, 8: Res + attention 1280   9: Down 1280   10, 11: Res 1280
    """
    channels = config.model_channels
    table: list[list[nn.Module]] = [[nn.Conv2d(config.in_channels, channels, 3, padding=1)]]
    for level, width in enumerate(config.widths):
        for _ in range(config.res_blocks[level]):
            table.append([res_block(config, channels, width), *attention(config, width, level)])
            channels = width
        if level + 1 < len(config.widths):
            table.append([Downsample(channels)])
    return table


def middle_table(config: UNetConfig) -> list[nn.Module]:
    """Layers of `middle_block`: Res, attention, Res, at the coarsest width."""
    width = config.widths[-1]
    return [
        res_block(config, width, width),
        *spatial_transformers(config, width, config.transformer_depth_middle),
        res_block(config, width, width),
    ]


def decoder_table(config: UNetConfig) -> list[list[nn.Module]]:
    """Layers of each of `output_blocks`: the encoder mirrored, each block reading one skip beside its input."""
    skips, channels = skip_widths(config), config.widths[-1]
    table: list[list[nn.Module]] = []
    for level, width in reversed(list(enumerate(config.widths))):
        for _ in range(config.res_blocks[level] + 1):
            table.append([res_block(config, channels + skips.pop(), width), *attention(config, width, level)])
            channels = width
        if level > 0:
            table[-1].append(Upsample(channels))
    return table


def skip_widths(config: UNetConfig) -> list[int]:
    """Channels that each of `input_blocks` gives out."""
    widths = [config.model_channels]
    for level, width in enumerate(config.widths):
        widths += [width] * config.res_blocks[level]
        widths += [width] if level + 1 < len(config.widths) else []
    return widths


def res_block(config: UNetConfig, channels: int, out_channels: int) -> ResBlock:
    """A residual block of this model."""
    return ResBlock(channels, out_channels, emb_width(config), config.norm_groups)


def attention(config: UNetConfig, channels: int, level: int) -> list[SpatialTransformer]:
    """The transformer of a level: one, or none."""
    cross_only = bool(config.cross_only) and config.cross_only[level]
    return spatial_transformers(config, channels, config.transformer_depth[level], cross_only)


def spatial_transformers(
    config: UNetConfig, channels: int, depth: int, cross_only: bool = False
) -> list[SpatialTransformer]:
    """A transformer of `depth` blocks; none for depth 0."""
    heads = config.heads(channels)
    shape = (channels, config.context_dim, heads, depth, config.linear_projection, config.norm_groups, cross_only)
    return [SpatialTransformer(*shape)] if depth else []


def emb_width(config: UNetConfig) -> int:
    """Channels of the timestep embedding."""
    return config.model_channels * 4


def embedding_mlp(channels: int, out_channels: int) -> nn.Sequential:
    """Two linear layers: (b channels) -> (b out_channels)."""
    return nn.Sequential(nn.Linear(channels, out_channels), nn.SiLU(), nn.Linear(out_channels, out_channels))


def give_names(unet: nn.Module) -> TapNames:
    """Tell blocks and attentions the names by which `Taps` address them, and list these names."""
    named = list(unet.named_modules())
    for name, module in named:
        if isinstance(module, (Block, Attention)):
            module.name = name
    attentions = tuple(name for name, module in named if isinstance(module, Attention))
    return TapNames(
        layers=tuple(f"{name}.{i}" for name, block in named if isinstance(block, Block) for i in range(len(block))),
        attentions=attentions,
        inputs=tuple(f"{name}.{projection}" for name in attentions for projection in Attention.PROJECTIONS),
    )


def size_of(x: Tensor) -> tuple[int, int]:
    """(b c h w) -> h, w."""
    return x.shape[-2], x.shape[-1]


def plus(x: Tensor, residual: Tensor | None) -> Tensor:
    """x + residual, the residual resized by nearest neighbour where an odd side made it another size: (b c h w)."""
    if residual is None:
        return x
    if residual.shape[-2:] != x.shape[-2:]:
        residual = F.interpolate(residual, size=size_of(x), mode="nearest")
    return x + residual.to(x.dtype)


def with_residuals(skips: list[Tensor], controls: Controls) -> list[Tensor]:
    """The skip copies that the decoder reads; the encoder's own states stay as they are."""
    if not controls.skips:
        return skips
    return [plus(skip, residual) for skip, residual in zip(skips, controls.skips, strict=True)]
