"""Runs a segmentation network of transformers on one picture: (h w 3) uint8 -> (h w) numbers of classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate
from transformers import (
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessorPil,
    SegformerImageProcessorPil,
    UperNetForSemanticSegmentation,
)

from webui.ext import PreprocessContext

from .ade20k import NAMES

# "the task is semantic" in CLIP's byte pairs between start and end, filled with zeros as in OneFormer's training.
TASK = (49406, 518, 10549, 533, 29119, 1550, 49407)


def oneformer(image: NDArray[np.uint8], model: str, ctx: PreprocessContext) -> NDArray[np.int64]:
    """Each query votes for its classes where its mask is. The folder's list of class names is not asked for."""
    folder = ctx.model(model)
    network = ctx.load(str(folder), lambda: load(OneFormerForUniversalSegmentation, folder)).to(ctx.device)
    processor = OneFormerImageProcessorPil.from_pretrained(folder, class_info_file=None)
    pixels = processor(image, task_inputs=["semantic"], return_tensors="pt")["pixel_values"].to(ctx.device)
    task = torch.zeros(1, network.config.task_seq_len, dtype=torch.long, device=ctx.device)
    task[0, : len(TASK)] = torch.tensor(TASK)
    with torch.inference_mode():
        answer = network(pixel_values=pixels, task_inputs=task)
        classes = answer.class_queries_logits.softmax(-1)[..., :-1]  # the last says that there is nothing
        votes = torch.einsum("bqc, bqhw -> bchw", classes, answer.masks_queries_logits.sigmoid())
    return _winners(votes, image)


def upernet(image: NDArray[np.uint8], model: str, ctx: PreprocessContext) -> NDArray[np.int64]:
    """The network votes for each pixel."""
    folder = ctx.model(model)
    network = ctx.load(str(folder), lambda: load(UperNetForSemanticSegmentation, folder)).to(ctx.device)
    pixels = SegformerImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return _winners(network(pixels.to(ctx.device)).logits, image)


def load(kind: Any, folder: Path) -> torch.nn.Module:
    """The network of a transformers folder. Nothing is fetched, and no pickle is read.

    Raises:
        ValueError: it was trained on other classes.
    """
    network = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    if network.config.num_labels != len(NAMES):
        raise ValueError(f"the network in {folder.name} knows {network.config.num_labels} classes, ADE20K {len(NAMES)}")
    return network.eval()


def _winners(votes: torch.Tensor, image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(1 c h' w') -> (h w): the class with most votes, at the size of the picture."""
    whole = interpolate(votes.float(), size=image.shape[:2], mode="bilinear", align_corners=False)
    return whole[0].argmax(0).cpu().numpy()
