"""What is measured: architectures, ours and diffusers', with the same random weights drawn in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from webui.nn.config import SD15, SDXL, ModelConfig, UNetConfig

CASES = ("toybox", "sd15", "sdxl")
PROGRAMS = ("atelier", "diffusers")
TIME_WIDTH = 256
SIZES_TOLD = 6
TEXT_TOKENS = 77


@dataclass(frozen=True)
class Case:
    """One measurement. size: side of the picture in pixels; rows: of one U-Net call, 2 for cond and uncond.

    channels_last: how both programs lay out the weights of their convolutions; False: as they are loaded.
    """

    name: str
    size: int
    rows: int
    dtype: str
    device: str
    threads: int
    channels_last: bool
    models_dir: str

    def config(self) -> ModelConfig:
        """The architecture. Toybox's stands in its own file."""
        if self.name == "toybox":
            return toybox_config(Path(self.models_dir))
        return {"sd15": SD15, "sdxl": SDXL}[self.name]


def toybox_file(models_dir: Path) -> Path:
    return models_dir / "Stable-diffusion" / "toybox.safetensors"


def toybox_config(models_dir: Path) -> ModelConfig:
    """The config in the header of the model that ships."""
    with safe_open(str(toybox_file(models_dir)), framework="pt") as file:
        return ModelConfig.from_json(json.loads(file.metadata()["atelier.config"]))


def step_of(program: str, case: Case) -> Callable[[], Any]:
    """A call that evaluates the U-Net once."""
    config = case.config()
    dtype, device = getattr(torch, case.dtype), torch.device(case.device)
    unet: Any = (ours if program == "atelier" else theirs)(config.unet, dtype, device)
    if case.channels_last:
        unet = unet.to(memory_format=torch.channels_last)
    given = inputs(config, case, dtype, device)
    return (our_call if program == "atelier" else their_call)(unet, given)


def ours(config: UNetConfig, dtype: torch.dtype, device: torch.device) -> nn.Module:
    from webui.nn.unet import UNet

    with torch.device("meta"):
        unet = UNet(config)
    return filled(unet, dtype, device)


def theirs(config: UNetConfig, dtype: torch.dtype, device: torch.device) -> nn.Module:
    from diffusers import UNet2DConditionModel
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**their_config(config))
    return filled(unet, dtype, device)


def their_config(config: UNetConfig) -> dict[str, Any]:
    """Arguments of diffusers' class for one of our configs."""
    crossed = [bool(depth) for depth in config.transformer_depth]
    arguments: dict[str, Any] = {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "down_block_types": ["CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed],
        "up_block_types": ["CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)],
        "block_out_channels": config.widths,
        "layers_per_block": config.num_res_blocks,
        "cross_attention_dim": config.context_dim,
        "attention_head_dim": [config.heads(width) for width in config.widths],  # it means the number of heads
        "norm_num_groups": config.norm_groups,
        "use_linear_projection": config.linear_projection,
        "transformer_layers_per_block": [
            depth or config.transformer_depth_middle for depth in config.transformer_depth
        ],
    }
    if config.adm_channels is not None:
        arguments["addition_embed_type"] = "text_time"
        arguments["addition_time_embed_dim"] = TIME_WIDTH
        arguments["projection_class_embeddings_input_dim"] = config.adm_channels
    return arguments


def filled(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A module from the meta device with weights drawn so that activations stay in range."""
    module = module.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight[0].numel() ** -0.5, generator=generator)
            else:
                weight.fill_(0)
        for norm in module.modules():
            if isinstance(norm, (nn.GroupNorm, nn.LayerNorm)):
                norm.weight.fill_(1)
    return module.eval()


def inputs(config: ModelConfig, case: Case, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """x (b c h w), context (b n d), text_embeds (b d) and time_ids (b 6)."""
    side = case.size // config.vae.downscale
    pooled = (config.unet.adm_channels or 0) - SIZES_TOLD * TIME_WIDTH
    shapes = {
        "x": (case.rows, config.unet.in_channels, side, side),
        "context": (case.rows, min(TEXT_TOKENS, config.texts[0].length), config.unet.context_dim),
    }
    if pooled > 0:
        shapes |= {"text_embeds": (case.rows, pooled), "time_ids": (case.rows, SIZES_TOLD)}
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(device, dtype) for name, shape in shapes.items()}


def our_call(unet: nn.Module, given: dict[str, Tensor]) -> Callable[[], Any]:
    x, context = given["x"], given["context"]
    timesteps = torch.full((x.shape[0],), 500.0, device=x.device)
    y = None
    if "text_embeds" in given:
        told = given["time_ids"].repeat_interleave(TIME_WIDTH, dim=1)  # as wide as the sinusoids of six sizes
        y = torch.cat([given["text_embeds"], told], dim=1)
    return lambda: unet(x, timesteps, context, y)


def their_call(unet: nn.Module, given: dict[str, Tensor]) -> Callable[[], Any]:
    x, context = given["x"], given["context"]
    timesteps = torch.full((x.shape[0],), 500.0, device=x.device)
    added = {name: given[name] for name in ("text_embeds", "time_ids") if name in given}
    return lambda: unet(x, timesteps, context, added_cond_kwargs=added).sample
