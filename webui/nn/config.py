"""Architectures as frozen values: SD 1.x, SD 2.x, SDXL, their kin and small models are values of the same classes.

Every value is hashable and survives `to_json` / `from_json` exactly, so a checkpoint can carry its own config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from webui.nn.config_json import from_json, to_json
from webui.nn.depth_config import DepthConfig
from webui.nn.part_configs import TextConfig as TextConfig
from webui.nn.part_configs import UNetConfig as UNetConfig
from webui.nn.part_configs import VAEConfig as VAEConfig

Prediction = Literal["epsilon", "v", "sample"]
Extra = Literal["none", "inpaint", "edit", "depth", "upscale"]
"""What a U-Net reads in the channels beside the noisy latent: nothing; a mask and the latent of the masked picture
(1 + 4); the latent of the picture to edit (4); a depth map (1); the noised small picture (3)."""
EXTRA_CHANNELS: Mapping[Extra, int] = {"none": 0, "inpaint": 5, "edit": 4, "depth": 1, "upscale": 3}


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
    """A whole checkpoint. `native_size` is the side, in pixels, of the pictures it was trained on.

    extra: what the U-Net's further input channels are. The x4 upscaler's small picture is noised with `schedule` too.
    depth: what finds the depth that a depth model reads, where the checkpoint has it.
    """

    family: str = "sd1"
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    texts: tuple[TextConfig, ...] = (TextConfig(),)
    prediction: Prediction = "epsilon"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    native_size: int = 512
    extra: Extra = "none"
    depth: DepthConfig | None = None

    def to_json(self) -> dict[str, Any]:
        """The config as JSON values (dicts, lists, numbers, strings); `from_json` gives the same config back."""
        values: dict[str, Any] = to_json(self)
        return values

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_json` wrote. Missing keys take their default; ValueError names an unknown or ill-typed key."""
        config: ModelConfig = from_json(ModelConfig, values)
        return config


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
_REFINER_UNET = UNetConfig(
    model_channels=384, transformer_depth=(0, 4, 4, 0), transformer_depth_middle=4, context_dim=1280,
    num_heads=None, head_dim=64, linear_projection=True, adm_channels=2560,
)  # fmt: skip
_UPSCALER_UNET = UNetConfig(
    in_channels=7, model_channels=256, channel_mult=(1, 2, 2, 4), transformer_depth=(0, 1, 1, 1), context_dim=1024,
    linear_projection=True, num_classes=1000, cross_only=(True, True, True, False),
)  # fmt: skip
_SDXL_VAE = VAEConfig(scale_factor=0.13025)

SD15 = ModelConfig()
SD21_BASE = ModelConfig(family="sd2", unet=_SD2_UNET, texts=(_OPENCLIP_H,))
SD21 = replace(SD21_BASE, prediction="v", native_size=768)
SDXL = ModelConfig(
    family="sdxl", unet=_SDXL_UNET, vae=_SDXL_VAE, texts=(_CLIP_L_SDXL, _OPENCLIP_BIGG), native_size=1024
)
SDXL_REFINER = ModelConfig(
    family="sdxl_refiner", unet=_REFINER_UNET, vae=_SDXL_VAE, texts=(_OPENCLIP_BIGG,), native_size=1024
)
"""Told six numbers less one beside the text: original size, crop corner and an aesthetic score."""
X4_UPSCALER = ModelConfig(
    family="sd2_x4",
    unet=_UPSCALER_UNET,
    vae=VAEConfig(channel_mult=(1, 2, 4), scale_factor=0.08333),
    texts=(_OPENCLIP_H,),
    prediction="v",
    schedule=ScheduleConfig(beta_start=0.0001, beta_end=0.02),
    extra="upscale",
)
"""y is the timestep, up to 350, of the noise on the small picture, which is not encoded: 128 pixels make 512."""


def with_extra(config: ModelConfig, extra: Extra) -> ModelConfig:
    """The sibling of a model whose U-Net reads more than the latent: "inpaint", "edit" or "depth"."""
    channels = config.unet.out_channels + EXTRA_CHANNELS[extra]
    return replace(config, unet=replace(config.unet, in_channels=channels), extra=extra)
