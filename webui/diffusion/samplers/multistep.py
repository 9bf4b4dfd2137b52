"""Multistep methods on the slope eps = dx/dsigma: one model call per step, earlier slopes remembered. x: (c h w)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from torch import Tensor

from webui.diffusion.samplers.steps import slope, weighted
from webui.diffusion.types import Eval, Noise, Steps

ADAMS_BASHFORTH: Final = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the newest slope and those before it, for equal steps."""


def lagrange(nodes: Sequence[float], j: int, t: float) -> float:
    """The polynomial that is 1 at nodes[j] and 0 at the others, at t."""
    return math.prod((t - node) / (nodes[j] - node) for k, node in enumerate(nodes) if k != j)


def lms(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Linear multistep (Adams-Bashforth on the given sigmas) of order 4: the polynomial through the last slopes."""
    slopes: deque[Tensor] = deque(maxlen=4)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        slopes.appendleft(slope(x, answer.denoised, sigma))
        nodes = sigmas[step::-1][: len(slopes)]
        x = x + weighted([_integral(nodes, j, sigma, sigma_next) for j in range(len(nodes))], slopes)
    return x


def _integral(nodes: Sequence[float], j: int, start: float, end: float) -> float:
    """Of `lagrange` from start to end: two Gauss points are exact up to degree 3."""
    middle, reach = (start + end) / 2, (end - start) / 12**0.5
    return (end - start) / 2 * (lagrange(nodes, j, middle - reach) + lagrange(nodes, j, middle + reach))


def plms(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """PLMS, the multistep part of PNDM, Liu et al. 2022 (arXiv:2202.09778), begun by one improved Euler step.

    The paper's transfer from t to the next timestep is, in z / sqrt(alpha_bar), a plain step along eps.
    """
    slopes: deque[Tensor] = deque(maxlen=4)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        slopes.appendleft(slope(x, answer.denoised, sigma))
        d = weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        if step == 0 and sigma_next > 0:
            ahead, answer = yield Eval(x + d * (sigma_next - sigma), sigma_next, step)
            d = (d + slope(ahead, answer.denoised, sigma_next)) / 2
        x = x + d * (sigma_next - sigma)
    return x


def ipndm(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """iPNDM, Zhang & Chen 2022 (arXiv:2204.13902): the weights of equal steps, whatever the steps are."""
    slopes: deque[Tensor] = deque(maxlen=4)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        slopes.appendleft(slope(x, answer.denoised, sigma))
        x = x + weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes) * (sigma_next - sigma)
    return x


def ipndm_v(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """iPNDM with variable steps, as published with Zhou et al. 2023 (arXiv:2312.00094, diff-sampler).

    Its terms of order 3 and 4 keep to the published weights, which users know, though these are not quite the integrals
    of the polynomials (which are `lms`), so that the order of the whole is 2.
    """
    slopes: deque[Tensor] = deque(maxlen=4)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        slopes.appendleft(slope(x, answer.denoised, sigma))
        nodes = [sigma_next, *sigmas[step::-1][: len(slopes)]]
        x = x + weighted(variable_step_weights([a - b for a, b in pairwise(nodes)]), slopes) * (sigma_next - sigma)
    return x


def variable_step_weights(h: Sequence[float]) -> list[float]:
    """Weights of the slopes, newest first, for the steps h, newest first: the coming one and up to three past ones."""
    weights = np.zeros(len(h))
    weights[0] = 1.0
    if len(h) > 1:
        weights[:2] += h[0] / h[1] / 2 * np.array([1, -1])
    if len(h) > 2:
        a = h[1] / h[2]
        weights[:3] += (1 - h[0] ** 2 / (3 * h[1] * (h[1] + h[2]))) / 2 * np.array([1, -1 - a, a])
    if len(h) > 3:
        b = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
        weights[:4] += _fourth_term(h) * np.array([1, -1 - a - b, a + b * (1 + h[2] / h[3]), -b * a])
    return weights.tolist()


def _fourth_term(h: Sequence[float]) -> float:
    h01, h012 = h[0] + h[1], h[0] + h[1] + h[2]
    share = (1 - h[0] / (3 * h01)) / 2 + (1 - h[0] / (2 * h01)) * h[0] / (6 * h012)
    return share * (h[0] * h01 * h012) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))


def deis(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """tAB-DEIS of order 3, Zhang & Chen 2022 (arXiv:2204.13902), eq. 14-15: a polynomial in the VP time, not sigma."""
    slopes: deque[Tensor] = deque(maxlen=3)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        slopes.appendleft(slope(x, answer.denoised, sigma))
        x = x + weighted(deis_weights(sigmas[step::-1][: len(slopes)], sigma_next), slopes)
    return x


# beta(t) = BETA_MIN + BETA_D t of the VP process with sigma(1) = 80 and sigma(0.001) = 0.002
BETA_D: Final = 2 * (math.log(0.002**2 + 1) / 1e-3 - math.log(80**2 + 1)) / (1e-3 - 1)
BETA_MIN: Final = math.log(80**2 + 1) - BETA_D / 2


def vp_time(sigma: float) -> float:
    """t of the VP process, where log(1 + sigma^2) = BETA_D t^2 / 2 + BETA_MIN t."""
    return ((BETA_MIN**2 + 2 * BETA_D * math.log1p(sigma**2)) ** 0.5 - BETA_MIN) / BETA_D


def deis_weights(past: Sequence[float], sigma_next: float) -> list[float]:
    """Weights of the slopes at the sigmas `past`, newest first: integrals over sigma of the Lagrange polynomials in t.

    By 16 Gauss points, as the integrand is smooth.
    """
    nodes = [vp_time(sigma) for sigma in past]
    points, shares = np.polynomial.legendre.leggauss(16)
    start, end = nodes[0], vp_time(sigma_next)
    weights = [0.0] * len(nodes)
    times = (start + end) / 2 + (end - start) / 2 * points
    for t, share in zip(times.tolist(), ((end - start) / 2 * shares).tolist(), strict=True):
        one_plus_sigma2 = math.exp(BETA_D * t**2 / 2 + BETA_MIN * t)
        dsigma_dt = (BETA_D * t + BETA_MIN) * one_plus_sigma2 / (2 * (one_plus_sigma2 - 1) ** 0.5)
        for j in range(len(nodes)):
            weights[j] += share * dsigma_dt * lagrange(nodes, j, t)
    return weights
