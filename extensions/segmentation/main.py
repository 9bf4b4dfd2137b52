"""Segmentation: what every pixel belongs to, in the colours of ADE20K."""

import numpy as np
from numpy.typing import NDArray

from webui.ext import Map, PreprocessContext

from .ade20k import COLOURS, NAMES
from .networks import oneformer, upernet


def seg_ofade20k(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """OneFormer (Jain et al. 2022, arXiv:2211.06220)."""
    return paint(oneformer(image, "oneformer_ade20k_swin_large", ctx))


def seg_ufade20k(image: NDArray[np.uint8], *, ctx: PreprocessContext) -> Map:
    """UperNet (Xiao et al. 2018, arXiv:1807.10221) on ConvNeXt."""
    return paint(upernet(image, "upernet_convnext_small", ctx))


def paint(classes: NDArray[np.int64]) -> Map:
    """classes: (h w), 0..149. data: {"classes": [{"name", "colour", "share"}, ...]}, largest first."""
    numbers, counts = np.unique(classes, return_counts=True)
    seen = [
        {
            "name": NAMES[number],
            "colour": f"#{COLOURS[number].tobytes().hex()}",
            "share": round(count / classes.size, 4),
        }
        for number, count in sorted(zip(numbers.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])
    ]
    return Map(COLOURS[classes], {"classes": seen})
