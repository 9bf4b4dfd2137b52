"""Finds people: RT-DETR (Zhao et al. 2023, arXiv:2304.08069) through transformers."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import RTDetrForObjectDetection, RTDetrImageProcessorPil

from webui.ext import PreprocessContext

MODEL = "rtdetr_r50vd_coco_o365"


def find_people(image: NDArray[np.uint8], least: float, ctx: PreprocessContext) -> NDArray[np.float32]:
    """Boxes (n 4) of the people in an RGB picture (h w 3): left, top, width, height in pixels, most certain first."""
    folder = ctx.model(MODEL)
    network = ctx.load(str(folder), lambda: load(folder)).to(ctx.device)
    pixels = RTDetrImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        answer = network(pixels.to(ctx.device))
    certain = answer.logits[0, :, person_class(network.config.id2label)].sigmoid().float().cpu().numpy()
    boxes = answer.pred_boxes[0].float().cpu().numpy()
    order = np.argsort(-certain, kind="stable")
    return _corners(boxes[order[certain[order] > least]], image.shape[0], image.shape[1])


def load(folder: Path) -> torch.nn.Module:
    """The detector of a transformers folder. Nothing is fetched, and no pickle is read."""
    return RTDetrForObjectDetection.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()


def person_class(names: dict[int, str]) -> int:
    """The number of the class "person"; 0, as in COCO, where the classes have no names."""
    return next((number for number, name in names.items() if name.lower() == "person"), 0)


def _corners(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Centre and size as shares of the picture -> left, top, width, height in pixels."""
    size = np.array([width, height], np.float32)
    middle, extent = boxes[:, :2] * size, boxes[:, 2:] * size
    return np.concatenate([middle - extent / 2, extent], axis=1)
