"""Finds joints: ViTPose (Xu et al. 2022, arXiv:2204.12484) through transformers.

What goes in and comes out is worked out here: transformers' own way needs scipy. Pixels are mapped without bias (UDP,
Huang et al. 2020, arXiv:1911.07524), and a joint is refined within its pixel by the shape of its hill (DARK, Zhang et
al. 2020, arXiv:1910.06278).
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import VitPoseForPoseEstimation, VitPoseImageProcessorPil

from webui.ext import PreprocessContext

MODEL = "vitpose_base_simple"
COCO = 17
WIDER = 1.25  # of the box, so that hands and feet are not cut off
HILL = (11, 0.8)  # side of the kernel and sigma, in pixels of a heatmap
Floats = NDArray[np.float32]


def find_joints(image: NDArray[np.uint8], boxes: Floats, ctx: PreprocessContext) -> Floats:
    """(n 17 3): x, y in pixels and certainty of COCO's joints for n boxes (left, top, width, height) of a picture."""
    folder = ctx.model(MODEL)
    network = ctx.load(str(folder), lambda: load(folder)).to(ctx.device)
    processor = VitPoseImageProcessorPil.from_pretrained(folder)
    frames = np.stack([frame(box, processor.size["width"] / processor.size["height"]) for box in boxes])
    crops = [crop(image, one, processor.size["height"], processor.size["width"]) for one in frames]
    pixels = (np.stack(crops) / 255 - processor.image_mean) / processor.image_std
    inputs = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float().to(ctx.device)
    experts = getattr(network.config.backbone_config, "num_experts", 1) > 1  # ViTPose+: the first is COCO's
    extra = {"dataset_index": torch.zeros(len(boxes), dtype=torch.long, device=ctx.device)} if experts else {}
    with torch.inference_mode():
        heatmaps = network(inputs, **extra).heatmaps[:, :COCO].float().cpu().numpy()
    return np.stack([joints(maps, one) for maps, one in zip(heatmaps, frames, strict=True)])


def load(folder: Path) -> torch.nn.Module:
    """The network of a transformers folder. Nothing is fetched, and no pickle is read.

    Raises:
        ValueError: it has fewer joints than COCO.
    """
    network = VitPoseForPoseEstimation.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    if network.config.num_labels < COCO:
        raise ValueError(
            f"the network in {folder.name} finds {network.config.num_labels} joints in the place of {COCO}"
        )
    return network.eval()


def frame(box: Floats, aspect: float) -> Floats:
    """The part of the picture that the network looks at: centre x, y, width, height; the box with room around it."""
    left, top, width, height = (float(value) for value in box)
    wide, high = max(width, height * aspect), max(height, width / aspect)
    return np.array([left + width / 2, top + height / 2, wide * WIDER, high * WIDER], np.float32)


def crop(image: NDArray[np.uint8], frame: Floats, height: int, width: int) -> NDArray[np.uint8]:
    """That part of the picture (height width 3); the centres of its corner pixels are its corners. Outside is black."""
    x, y, wide, high = (float(value) for value in frame)
    across, down = (width - 1) / wide, (height - 1) / high
    matrix = np.array([[across, 0, across * (wide / 2 - x)], [0, down, down * (high / 2 - y)]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


def joints(heatmaps: Floats, frame: Floats) -> Floats:
    """(k h w), one hill per joint, -> (k 3): x and y in the picture, and the hill's height."""
    count, height, width = heatmaps.shape
    tops = heatmaps.reshape(count, -1).argmax(axis=1)
    found = np.empty((count, 3), np.float32)
    for number, top in enumerate(tops):
        found[number] = (*_refined(heatmaps[number], *divmod(int(top), width)), heatmaps[number].flat[top])
    size = np.array([width - 1, height - 1], np.float32)
    found[:, :2] = found[:, :2] / size * frame[2:] + frame[:2] - frame[2:] / 2
    return found


def _refined(hill: Floats, row: int, column: int) -> tuple[float, float]:
    """x, y of the top of a hill: one Newton step, of a pixel at most, on the logarithm of the smoothed hill."""
    smooth = cv2.GaussianBlur(hill, (HILL[0], HILL[0]), HILL[1], borderType=cv2.BORDER_REFLECT)
    log = np.pad(np.log(np.clip(smooth, 0.001, 50)), 1, mode="edge")[row : row + 3, column : column + 3].astype(float)
    slope = np.array([log[1, 2] - log[1, 0], log[2, 1] - log[0, 1]]) / 2
    bend_x, bend_y = log[1, 2] - 2 * log[1, 1] + log[1, 0], log[2, 1] - 2 * log[1, 1] + log[0, 1]
    twist = (log[2, 2] - log[1, 2] - log[2, 1] + 2 * log[1, 1] - log[1, 0] - log[0, 1] + log[0, 0]) / 2
    curve = np.array([[bend_x, twist], [twist, bend_y]]) + np.finfo(np.float32).eps * np.eye(2)
    step = np.linalg.solve(curve, slope).clip(-1, 1)  # a flat top has no bend to go by
    return column - float(step[0]), row - float(step[1])
