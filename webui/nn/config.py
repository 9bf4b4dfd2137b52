"""Architectures as frozen values: SD 1.x, SD 2.x, SDXL and small models are values of the same classes.

Every value is hashable and survives `to_json` / `from_json` exactly, so a checkpoint can carry its own config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Prediction = Literal["epsilon", "v", "sample"]


def _divisible(channels: int, parts: int, name: str) -> None:
    if parts < 1 or channels % parts:
        raise ValueError(f"{channels} channels cannot be divided by {name} ({parts})")


@dataclass(frozen=True)
class UNetConfig:
    """The denoising U-Net of latent diffusion (Rombach et al. 2022, arXiv:2112.10752, section 3.2).

    Per-level values go from the finest level to the coarsest. Attention has either `num_heads` heads at every
    level or heads of `head_dim` channels: exactly one of the two is given. `transformer_depth` 0 means no
    attention at that level. `adm_channels` is the width of the vector condition `y` (None: the model takes none).
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

    def __post_init__(self) -> None:
        if len(self.transformer_depth) != len(self.channel_mult):
            raise ValueError(
                f"transformer_depth has {len(self.transformer_depth)} levels, channel_mult has {len(self.channel_mult)}"
            )
        if len(self.res_blocks) != len(self.channel_mult):
            raise ValueError(f"num_res_blocks has {len(self.res_blocks)} levels, not {len(self.channel_mult)}")
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


@dataclass(frozen=True)
class TextConfig:
    """A CLIP text transformer (Radford et al. 2021, arXiv:2103.00020) and the way the U-Net was trained to read it.

    `default_layer` is the layer whose output conditions the U-Net; `final_norm` says whether the closing layer norm
    is applied to it. With `pooled`, the state at the end-of-text token (projected to `projection` channels where
    that is given) comes beside it. `pad` is what fills a short prompt: the end token, or token 0.
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

    def __post_init__(self) -> None:
        _divisible(self.width, self.heads, "heads")
        if not (0 <= self.start_id < self.vocab_size and 0 <= self.end_id < self.vocab_size):
            raise ValueError(
                f"start_id {self.start_id} and end_id {self.end_id} must lie in a vocabulary of {self.vocab_size}"
            )

    @property
    def pad_id(self) -> int:
        """Token that fills a prompt up to `length`."""
        return self.end_id if self.pad == "eos" else 0


@dataclass(frozen=True)
class ScheduleConfig:
    """The training noise schedule: sqrt(beta) is linear for "scaled_linear", beta itself for "linear"."""

    kind: Literal["scaled_linear", "linear"] = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000
    zero_terminal_snr: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """A whole checkpoint. `native_size` is the side, in pixels, of the pictures it was trained on."""

    family: str = "sd1"
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    texts: tuple[TextConfig, ...] = (TextConfig(),)
    prediction: Prediction = "epsilon"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    native_size: int = 512

    def to_json(self) -> dict[str, Any]:
        """The config as JSON values (dicts, lists, numbers, strings); `from_json` gives the same config back."""
        return _to_json(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_json` wrote. Missing keys take their default; ValueError names an unknown or ill-typed key."""
        return _from_json(ModelConfig, values, "")


def _to_json(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return value


def _from_json(annotation: Any, value: Any, where: str) -> Any:
    """`value` as the type `annotation`; `where` is the path to it, for the error."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation):
        return _dataclass_from_json(annotation, value, where)
    if origin in (Union, UnionType):
        return _from_json(_branch(arguments, value), value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal and value in arguments:
        return value
    if annotation is float and type(value) is int:
        return float(value)
    # bool is an int to isinstance, and true is no width
    if isinstance(annotation, type) and type(value) is annotation:
        return value
    expected = " or ".join(map(repr, arguments)) if origin is Literal else getattr(annotation, "__name__", annotation)
    raise ValueError(f"config value {where or '(root)'} is {value!r}, expected {expected}")


def _branch(arguments: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that `value` is meant for."""
    if value is None and type(None) in arguments:
        return type(None)
    if isinstance(value, (list, tuple)):
        return next((a for a in arguments if get_origin(a) is tuple), arguments[0])
    return arguments[0]


def _dataclass_from_json(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"config value {where or '(root)'} is {value!r}, expected an object")
    annotations = get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in annotations:
            raise ValueError(f"unknown config key {prefix}{key}; known keys are {', '.join(annotations)}")
    return cls(**{key: _from_json(annotations[key], item, f"{prefix}{key}") for key, item in value.items()})


_CLIP_L_SDXL = TextConfig(default_layer="penultimate", final_norm=False)
_OPENCLIP_H = TextConfig(
    kind="openclip", width=1024, layers=24, heads=16, mlp_width=4096, activation="gelu", pad="zero",
    default_layer="penultimate",
)  # fmt: skip
_OPENCLIP_BIGG = TextConfig(
    kind="openclip", width=1280, layers=32, heads=20, mlp_width=5120, activation="gelu", pad="zero",
    default_layer="penultimate", final_norm=False, projection=1280, pooled=True,
)  # fmt: skip
_SD2_UNET = UNetConfig(context_dim=1024, num_heads=None, head_dim=64, linear_projection=True)
_SDXL_UNET = UNetConfig(
    channel_mult=(1, 2, 4), transformer_depth=(0, 2, 10), transformer_depth_middle=10, context_dim=2048,
    num_heads=None, head_dim=64, linear_projection=True, adm_channels=2816,
)  # fmt: skip

SD15 = ModelConfig()
SD21_BASE = ModelConfig(family="sd2", unet=_SD2_UNET, texts=(_OPENCLIP_H,))
SD21 = ModelConfig(family="sd2", unet=_SD2_UNET, texts=(_OPENCLIP_H,), prediction="v", native_size=768)
SDXL = ModelConfig(
    family="sdxl",
    unet=_SDXL_UNET,
    vae=VAEConfig(scale_factor=0.13025),
    texts=(_CLIP_L_SDXL, _OPENCLIP_BIGG),
    native_size=1024,
)
