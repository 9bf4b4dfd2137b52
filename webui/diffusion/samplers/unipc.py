"""UniPC, Zhao et al. 2023 (arXiv:2302.04867), on the predicted x0, of order 3 with B(h) = h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from webui.diffusion.samplers.steps import first_order
from webui.diffusion.types import Eval, Noise, Steps

ORDER = 3
Past = tuple[tuple[float, Tensor], ...]
"""(sigma, predicted x0) of the points a step builds on, newest first."""


def unipc(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Algorithms 1 and 2 on x0: UniP predicts; the model's answer there corrects it by UniC, at no further model call.

    The orders rise at the start and fall to 1 at the end. x: (c h w).
    """
    past: Past = ()
    used: Past = ()
    start = predicted = x
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(predicted, sigma, step)
        if used:
            corrected = unified_step(start, used, sigma, answer.denoised)
            x = corrected + (x - predicted)  # what a hook changed stays changed
        past = ((sigma, answer.denoised), *past)[:ORDER]
        used = past[: len(sigmas) - 1 - step]
        start, predicted = x, unified_step(x, used, sigma_next)
    return predicted


def unified_step(x: Tensor, past: Past, sigma_next: float, ahead: Tensor | None = None) -> Tensor:
    """One step of UniP, or of UniC where x0 at sigma_next is known as `ahead`. x: (c h w) at the newest of `past`."""
    (sigma, x0), *older = past
    step = first_order(x, x0, sigma, sigma_next)
    if not older and ahead is None:
        return step
    h = math.log(sigma / sigma_next)
    ratios = [math.log(sigma / sigma_k) / h for sigma_k, _ in older]  # r_k, negative
    differences = [(x0_k - x0) / r for (_, x0_k), r in zip(older, ratios, strict=True)]  # D_k / r_k
    if ahead is not None:
        ratios, differences = [*ratios, 1.0], [*differences, ahead - x0]
    for weight, difference in zip(_weights(ratios, h), differences, strict=True):
        step = step + h * weight * difference
    return step


def _weights(ratios: Sequence[float], h: float) -> list[float]:
    """a of R a = phi / B (Theorem 3.1, data prediction); 1/2 solves a single row to its order."""
    if len(ratios) == 1:
        return [0.5]
    phi, right = math.expm1(-h) / -h - 1, []
    for k in range(1, len(ratios) + 1):
        right.append(phi * math.factorial(k) / -h)
        phi = phi / -h - 1 / math.factorial(k + 1)
    rows = np.vander(ratios, increasing=True).T
    return np.linalg.solve(rows, np.array(right)).tolist()
