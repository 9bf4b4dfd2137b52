"""The architectures of a model's parts as frozen values: U-Net, autoencoder, text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


def _divisible(channels: int, parts: int, name: str) -> None:
    if parts < 1 or channels % parts:
        raise ValueError(f"{channels} channels cannot be divided by {name} ({parts})")


@dataclass(frozen=True)
class UNetConfig:
    """The denoising U-Net of latent diffusion (Rombach et al. 2022, arXiv:2112.10752, section 3.2).

    Per-level values go from the finest level to the coarsest. Attention has either `num_heads` heads at every
    level or heads of `head_dim` channels: exactly one of the two is given. `transformer_depth` 0 means no
    attention at that level. `adm_channels` is the width of the vector condition `y` (None: the model takes none);
    with `num_classes`, y is one of so many classes instead. Levels marked in `cross_only` (empty: none) read the text
    with both attentions.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int | tuple[int, ...] = 2
    transformer_depth: tuple[int, ...] = (1, 1, 1, 0)
    transformer_depth_middle: int = 1
    context_dim: int = 768
    num_heads: int | None = 8
    head_dim: int | None = None
    linear_projection: bool = False
    adm_channels: int | None = None
    norm_groups: int = 32
    num_classes: int | None = None
    cross_only: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if len(self.transformer_depth) != len(self.channel_mult):
            raise ValueError(
                f"transformer_depth has {len(self.transformer_depth)} levels, channel_mult has {len(self.channel_mult)}"
            )
        if len(self.res_blocks) != len(self.channel_mult):
            raise ValueError(f"num_res_blocks has {len(self.res_blocks)} levels, not {len(self.channel_mult)}")
        if self.cross_only and len(self.cross_only) != len(self.channel_mult):
            raise ValueError(f"cross_only has {len(self.cross_only)} levels, not {len(self.channel_mult)}")
        if self.num_classes is not None and self.adm_channels is not None:
            raise ValueError("only one of num_classes and adm_channels can be given")
        if (self.num_heads is None) == (self.head_dim is None):
            raise ValueError("exactly one of num_heads and head_dim must be given")
        for channels, depth in zip(self.widths, self.transformer_depth, strict=True):
            _divisible(channels, self.norm_groups, "norm_groups")
            if depth:
                _divisible(channels, self.head_dim or self.num_heads or 1, "the heads")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.model_channels * mult for mult in self.channel_mult)

    @property
    def res_blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level."""
        if isinstance(self.num_res_blocks, int):
            return (self.num_res_blocks,) * len(self.channel_mult)
        return self.num_res_blocks

    @property
    def downscale(self) -> int:
        """Latent pixels per pixel of the coarsest level, along one side."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def takes_y(self) -> bool:
        """Whether the U-Net wants a condition beside timestep and text."""
        return self.adm_channels is not None or self.num_classes is not None

    def heads(self, channels: int) -> int:
        """Number of attention heads at a level of `channels` channels."""
        return self.num_heads if self.num_heads is not None else channels // (self.head_dim or channels)


@dataclass(frozen=True)
class VAEConfig:
    """The KL autoencoder of latent diffusion. latent = (z - shift) * scale_factor, z being the encoder's own space."""

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 4
    in_channels: int = 3
    scale_factor: float = 0.18215
    shift: float = 0.0
    norm_groups: int = 32
    attention: bool = True
    quant_conv: bool = True

    def __post_init__(self) -> None:
        for channels in self.widths:
            _divisible(channels, self.norm_groups, "norm_groups")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * mult for mult in self.channel_mult)

    @property
    def downscale(self) -> int:
        """Picture pixels per latent pixel, along one side."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def latent_space(self) -> tuple[int, int, float, float]:
        """Latents of autoencoders that agree in this mean the same picture, as far as numbers tell."""
        return self.z_channels, self.downscale, self.scale_factor, self.shift


@dataclass(frozen=True)
class TextConfig:
    """A CLIP text transformer (Radford et al. 2021, arXiv:2103.00020) and the way the U-Net was trained to read it.

    `default_layer` is the layer whose output conditions the U-Net; `final_norm` says whether the closing layer norm
    is applied to it. With `pooled`, the state at the end-of-text token (projected to `projection` channels where
    that is given) comes beside it. `pad` is what fills a short prompt: the end token, or token 0. Of `layers`, the last
    `absent` are not there, because the U-Net reads an earlier one: diffusers leaves out the last of SD 2.x's encoder.
    """

    kind: Literal["clip_l", "openclip"] = "clip_l"
    vocab_size: int = 49408
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    length: int = 77
    projection: int | None = None
    pad: Literal["eos", "zero"] = "eos"
    default_layer: Literal["last", "penultimate"] = "last"
    final_norm: bool = True
    pooled: bool = False
    start_id: int = 49406
    end_id: int = 49407
    absent: int = 0

    def __post_init__(self) -> None:
        _divisible(self.width, self.heads, "heads")
        if self.absent and (self.absent > 1 or self.pooled or self.default_layer == "last"):
            raise ValueError(f"{self.absent} layers are absent, of which some are read")
        if not (0 <= self.start_id < self.vocab_size and 0 <= self.end_id < self.vocab_size):
            raise ValueError(
                f"start_id {self.start_id} and end_id {self.end_id} must lie in a vocabulary of {self.vocab_size}"
            )

    @property
    def pad_id(self) -> int:
        """Token that fills a prompt up to `length`."""
        return self.end_id if self.pad == "eos" else 0
