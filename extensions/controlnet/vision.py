"""What CLIP's image encoder sees in a picture: embeddings for IP-Adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from webui.ext import Map, PreprocessContext

SIDE = 224
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
"""Of the pictures that CLIP was trained on, for each colour."""


def clip_h(image: np.ndarray, *, ctx: PreprocessContext) -> Map:
    """The picture, with what CLIP ViT-H sees in it."""
    return seen(image, ctx, "clip_h")


def clip_g(image: np.ndarray, *, ctx: PreprocessContext) -> Map:
    """The picture, with what CLIP ViT-bigG sees in it."""
    return seen(image, ctx, "clip_g")


def seen(image: np.ndarray, ctx: PreprocessContext, id: str) -> Map:
    """embeds: (1 e); hidden: (1 m c), the last layer's input, and the same of no picture, which is zero."""
    model = ctx.load(id, lambda: load(ctx.model(id))).to(ctx.device)
    pixels = torch.from_numpy(prepared(image, model.config.image_size))[None].to(model.device)
    with torch.no_grad():
        of_image = model(pixel_values=pixels, output_hidden_states=True)
        of_nothing = model(pixel_values=torch.zeros_like(pixels), output_hidden_states=True)
    data = {
        "embeds": of_image.image_embeds.float().cpu().numpy(),
        "hidden": of_image.hidden_states[-2].float().cpu().numpy(),
        "hidden_of_nothing": of_nothing.hidden_states[-2].float().cpu().numpy(),
    }
    return Map(image, data)


def load(folder: Path) -> Any:
    """The encoder in a folder, offline."""
    from transformers import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()


def prepared(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """As CLIP's own processor does: shorter side to `side`, the middle square, normalised: (h w 3) -> (3 side side)."""
    picture = Image.fromarray(image)
    size = tuple(side * length // min(picture.size) for length in picture.size)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / 255
    return ((square - MEAN) / STD).transpose(2, 0, 1)
