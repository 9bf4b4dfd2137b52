"""Depth maps and skeletons of Toybox pictures, by small networks that come with the program."""

import json
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from webui.ext import Map, PreprocessContext

Joints = NDArray[np.float32]
FLAT = 1e-5  # a span below this is rounding, not depth


def toybox_depth(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """Near is white. image: RGB (h w 3); data: the nearness that the network gives, float32 (h w), unstretched."""
    from .networks import find_nearness, load_depth

    network = ctx.load("depth", load_depth).to(ctx.device)
    near = find_nearness(network, _tensor(image, ctx.device))[0].cpu().numpy()
    low, span = float(near.min()), float(near.max() - near.min())
    share = (near - low) / span if span > FLAT else np.zeros_like(near)
    return Map(cv2.cvtColor(np.rint(share * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB), near)


def toybox_pose(image: NDArray[np.uint8], *, person: float, joint: float, ctx: PreprocessContext) -> Map:
    """The person of an RGB picture (h w 3) on black, drawn by the extension `pose`; data: the joints as pose JSON."""
    from .networks import find_joints, load_pose

    network = ctx.load("pose", load_pose).to(ctx.device)
    found = find_joints(network, _tensor(image, ctx.device))[0].cpu().numpy()
    pose = pose_json(found if found[:, 2].mean() >= person else None, joint, image.shape[0], image.shape[1])
    return ctx.preprocess("openpose_json", image, pose=json.dumps(pose))


def pose_json(joints: Joints | None, least: float, height: int, width: int) -> dict[str, Any]:
    """Pose JSON of one person (18 3) or none. Joints that are less certain than `least` are left out."""
    rows = []
    if joints is not None:
        there = joints[:, 2:] >= least
        rows = [{"pose_keypoints_2d": [round(float(value), 3) for value in np.where(there, joints, 0).ravel()]}]
    return {"people": rows, "canvas_height": height, "canvas_width": width}


def _tensor(image: NDArray[np.uint8], device: str) -> torch.Tensor:
    """(h w 3) -> (1 3 h w) in -1..1."""
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
