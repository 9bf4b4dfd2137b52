"""Depth maps: near is white. Beside the grey map each gives the raw nearness as float32 (h w)."""

import numpy as np
from numpy.typing import NDArray

from webui.ext import Map, PreprocessContext

from .estimate import estimate
from .shade import nearness, shade


def depth_anything_v2(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """Depth Anything V2 (Yang et al. 2024, arXiv:2406.09414)."""
    return _map(image, "depth_anything_v2_small", ctx)


def depth_anything(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """Depth Anything (Yang et al. 2024, arXiv:2401.10891)."""
    return _map(image, "depth_anything_small", ctx)


def depth_midas(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """MiDaS 3 with a DPT hybrid (Ranftl et al. 2021, arXiv:2103.13413)."""
    return _map(image, "dpt_hybrid_midas", ctx)


def depth_zoe(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """ZoeDepth (Bhat et al. 2023, arXiv:2302.12288)."""
    return _map(image, "zoedepth_nyu_kitti", ctx)


def _map(image: NDArray[np.uint8], model: str, ctx: PreprocessContext) -> Map:
    depth = estimate(image, model, ctx)
    return Map(shade(depth), nearness(depth))
