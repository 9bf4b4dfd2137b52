"""Classifier-free guidance and what is built on it: functions of predictions (... c h w)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def cfg(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance, Ho & Salimans 2022 (arXiv:2207.12598), eq. 6 with scale = 1 + w."""
    return uncond + scale * (cond - uncond)


def compose(conds: Sequence[Tensor], weights: Sequence[float], uncond: Tensor, scale: float) -> Tensor:
    """Conjunction of several conds (AND in a prompt), Liu et al. 2022 (arXiv:2206.01714)."""
    guided = uncond
    for cond, weight in zip(conds, weights, strict=True):
        guided = guided + scale * weight * (cond - uncond)
    return guided


def image_pull(uncond: Tensor, bare: Tensor, scale: float) -> Tensor:
    """What is added to guidance by text in a model that edits a picture, Brooks et al. 2022 (arXiv:2211.09800), eq. 3.

    uncond: shown the picture, not the prompt; bare: shown neither; scale: s_I. At 1 it is zero.
    """
    return (scale - 1) * (uncond - bare)


def rescale(guided: Tensor, cond: Tensor, phi: float) -> Tensor:
    """CFG rescale, Lin et al. 2023 (arXiv:2305.08891), eq. 15-16: give `guided` the spread of `cond`, by the share phi.

    guided, cond: network outputs (... c h w); the standard deviation is over (c h w).
    """
    dims = (-3, -2, -1)
    rescaled = guided * (cond.std(dims, keepdim=True) / guided.std(dims, keepdim=True))
    return phi * rescaled + (1 - phi) * guided
