"""Between PIL pictures and tensors."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def image_to_tensor(image: Image.Image) -> Tensor:
    """An RGB picture as (3 h w), float32 in -1..1."""
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))  # (h w 3)
    return pixels.permute(2, 0, 1) / 127.5 - 1


def tensor_to_image(image: Tensor) -> Image.Image:
    """(3 h w) in 0..1 as an RGB picture, rounded to the nearest of 256 levels."""
    pixels = (image.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def mask_to_tensor(mask: Image.Image) -> Tensor:
    """A grey picture as (h w), float32 in 0..1."""
    return torch.from_numpy(np.array(mask.convert("L"), dtype=np.float32)) / 255
