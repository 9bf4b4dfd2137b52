"""Runs a depth network of transformers. Its image processor works with PIL; what follows the network is done here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil, ZoeDepthImageProcessorPil

from webui.ext import PreprocessContext


@dataclass(frozen=True)
class Depth:
    """values: float32 (h w). metric: they are metres; else inverse depth of unknown scale and offset, near = large."""

    values: NDArray[np.float32]
    metric: bool


def estimate(image: NDArray[np.uint8], model: str, ctx: PreprocessContext) -> Depth:
    """What the network in the folder of the declared `model` sees in an RGB picture (h w 3), at its size."""
    folder = ctx.model(model)
    network = ctx.load(str(folder), lambda: load(folder)).to(ctx.device)
    ctx.check_cancel()
    if network.config.model_type == "zoedepth":
        return Depth(_zoe(image, network, ZoeDepthImageProcessorPil.from_pretrained(folder), ctx), True)
    values = _dpt(image, network, DPTImageProcessorPil.from_pretrained(folder), ctx)
    return Depth(values, getattr(network.config, "depth_estimation_type", "relative") == "metric")


def load(folder: Path) -> torch.nn.Module:
    """The network of a transformers folder. Nothing is fetched, and no pickle is read."""
    return AutoModelForDepthEstimation.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()


def _predict(network: Any, pixels: torch.Tensor, ctx: PreprocessContext) -> torch.Tensor:
    """(b h w) of (b 3 h w)."""
    with torch.inference_mode():
        return network(pixels.to(ctx.device)).predicted_depth


def _dpt(image: NDArray[np.uint8], network: Any, processor: Any, ctx: PreprocessContext) -> NDArray[np.float32]:
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    return _resized(_predict(network, pixels, ctx), image.shape[0], image.shape[1])


def _zoe(image: NDArray[np.uint8], network: Any, processor: Any, ctx: PreprocessContext) -> NDArray[np.float32]:
    """Mean of the picture and its mirror image; the processor's reflected margin is cut off (ZoeDepth's `infer`)."""
    height, width = image.shape[:2]
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    mirrored = _predict(network, pixels.flip(-1), ctx).flip(-1)
    above, beside = _margin(height, processor), _margin(width, processor)
    whole = _resized((_predict(network, pixels, ctx) + mirrored) / 2, height + 2 * above, width + 2 * beside)
    return whole[above : above + height, beside : beside + width]


def _margin(side: int, processor: Any) -> int:
    """Pixels that the processor adds before and after a side of so many pixels."""
    return int(np.sqrt(side / 2) * 3) if processor.do_pad else 0


def _resized(depth: torch.Tensor, height: int, width: int) -> NDArray[np.float32]:
    """(1 h w) -> float32 (height width), cubic."""
    whole = interpolate(depth[:, None], (height, width), mode="bicubic", align_corners=False)
    return whole[0, 0].float().cpu().numpy()
