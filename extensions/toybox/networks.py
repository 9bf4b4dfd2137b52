"""Toybox's own estimators: a GLPN for depth and a SegFormer for joints, trained by models/toybox.

Both look at the whole picture, brought to 128 x 128. Their weights lie beside this file.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from transformers import GLPNForDepthEstimation, SegformerForSemanticSegmentation

FOLDER = Path(__file__).parent
DEPTH, POSE = FOLDER / "depth", FOLDER / "pose"
SIDE = 128
FLOOR = 1e-3  # of a heatmap, before its logarithm


def load_depth(folder: Path = DEPTH) -> Any:
    """A GLPN (Kim et al. 2022, arXiv:2201.07436). Nothing is fetched, and no pickle is read."""
    return _load(GLPNForDepthEstimation, folder)


def load_pose(folder: Path = POSE) -> Any:
    """A SegFormer (Xie et al. 2021, arXiv:2105.15203). Nothing is fetched, and no pickle is read."""
    return _load(SegformerForSemanticSegmentation, folder)


@torch.inference_mode()
def find_nearness(network: Any, pictures: Tensor) -> Tensor:
    """Pictures (b 3 h w) in -1..1 -> (b h w): 0 is the sky, 1 the nearest pixel, between them inverse depth.

    The mean of what the network says of a picture and of its mirror image.
    """
    seen = _seen(pictures)
    near = (network(seen).predicted_depth + network(seen.flip(-1)).predicted_depth.flip(-1)).float() / 2
    return _resized(near[:, None], pictures.shape[-2], pictures.shape[-1])[:, 0]


@torch.inference_mode()
def find_joints(network: Any, pictures: Tensor) -> Tensor:
    """Pictures (b 3 h w) in -1..1 -> (b 18 3): OpenPose's joints of the one person, x, y in pixels and certainty."""
    found = tops(network(_seen(pictures)).logits.float())
    found[..., 0] *= pictures.shape[-1]
    found[..., 1] *= pictures.shape[-2]
    return found


def tops(heat: Tensor) -> Tensor:
    """The top of each hill, (b j r c) -> (b j 3): x and y as shares of the map, and height, 0..1.

    It lies where the parabola through the logarithm of the highest cell and its neighbours has its top: for a Gauss
    curve that is exact.
    """
    rows, columns = heat.shape[-2:]
    height, cell = heat.flatten(2).max(-1)  # (b j)
    row, column = cell // columns, cell % columns
    log = pad(heat.clamp(min=FLOOR).log(), (1, 1, 1, 1), mode="replicate").flatten(2)

    def near(down: int, right: int) -> Tensor:
        place = (row + 1 + down) * (columns + 2) + column + 1 + right
        return log.gather(-1, place[..., None])[..., 0]

    x = column + 0.5 + _top(near(0, -1), near(0, 0), near(0, 1))
    y = row + 0.5 + _top(near(-1, 0), near(0, 0), near(1, 0))
    return torch.stack([x / columns, y / rows, height.clamp(0, 1)], -1)


def _top(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """Where a parabola through the values at -1, 0 and 1 has its top; 0 where all are equal."""
    return (after - before) / (2 * (2 * here - before - after)).clamp(min=1e-6)


def _load(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32).eval()


def _seen(pictures: Tensor) -> Tensor:
    return _resized(pictures, SIDE, SIDE)


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[-2:] == (height, width):
        return images
    return interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)
