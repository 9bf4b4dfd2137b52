"""DPM-Solver++, Lu et al. 2022 (arXiv:2211.01095), on the predicted x0, and its SDE forms. x: (c h w).

h is a step of lambda = -log sigma; the papers' alpha is 1 here, so their sigma / alpha is sigma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from webui.diffusion.samplers.steps import ancestral_step, first_order
from webui.diffusion.types import Eval, Noise, Steps


def dpmpp_2m(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M), Algorithm 2. Order 2."""
    before, h_before = None, 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        h = math.log(sigma / sigma_next)
        ahead = answer.denoised
        if before is not None:
            ahead = ahead + h / (2 * h_before) * (ahead - before)
        x = first_order(x, ahead, sigma, sigma_next)
        before, h_before = answer.denoised, h
    return x


def dpmpp_2s_ancestral(
    x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0
) -> Steps:
    """DPM-Solver++(2S), Algorithm 1 with r = 1/2, to sigma_down; then fresh noise up to sigma_next."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x, answer = yield Eval(x, sigma, step)
        if sigma_down > 0:
            sigma_mid = (sigma * sigma_down) ** 0.5
            _, answer = yield Eval(first_order(x, answer.denoised, sigma, sigma_mid), sigma_mid, step)
        x = first_order(x, answer.denoised, sigma, sigma_down)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * s_noise * sigma_up
    return x


def dpmpp_sde(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """SDE form of DPM-Solver++(2S) with r = 1/2: both the half step and the whole one follow one Brownian path."""

    def noised(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x = first_order(x, denoised, sigma, sigma_down)
        return x + noise(sigma, sigma_next) * s_noise * sigma_up if sigma_up > 0 else x

    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        sigma_mid = (sigma * sigma_next) ** 0.5
        _, answer = yield Eval(noised(x, answer.denoised, sigma, sigma_mid), sigma_mid, step)
        x = noised(x, answer.denoised, sigma, sigma_next)
    return x


def dpmpp_2m_sde(
    x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0, heun: bool = False
) -> Steps:
    """SDE-DPM-Solver++(2M): midpoint or Heun form of the second-order term."""
    before, h_before = None, 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        h = math.log(sigma / sigma_next)
        reach = (1 + eta) * h
        x = answer.denoised + math.exp(-reach) * (x - answer.denoised)
        if before is not None:
            weight = 1 + math.expm1(-reach) / reach if heun else -math.expm1(-reach) / 2
            x = x + weight * h / h_before * (answer.denoised - before)
        x = _with_noise(x, noise, sigma, sigma_next, eta, s_noise)
        before, h_before = answer.denoised, h
    return x


def dpmpp_3m_sde(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """SDE-DPM-Solver++ with three steps: a parabola through the last predictions of x0. Order 3 at eta 0.

    The multistep form of arXiv:2211.01095 carried one order further, as k-diffusion introduced it.
    """
    past: list[tuple[float, Tensor]] = []  # (lambda step that followed, x0), newest first
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        if sigma_next == 0:
            return answer.denoised
        h = math.log(sigma / sigma_next)
        reach = (1 + eta) * h
        x = answer.denoised + math.exp(-reach) * (x - answer.denoised)
        slope, curvature = _differences(answer.denoised, [(length / h, x0) for length, x0 in past])
        phi_2 = 1 + math.expm1(-reach) / reach
        if slope is not None:
            x = x + phi_2 * slope
        if curvature is not None:
            x = x - (phi_2 / reach - 0.5) * curvature
        x = _with_noise(x, noise, sigma, sigma_next, eta, s_noise)
        past = [(h, answer.denoised), *past[:1]]
    return x


def _differences(newest: Tensor, past: Sequence[tuple[float, Tensor]]) -> tuple[Tensor | None, Tensor | None]:
    """Newton's divided differences -> slope at the newest point and curvature, in units of the coming step."""
    if not past:
        return None, None
    (r0, x0_1), *rest = past
    d_0 = (newest - x0_1) / r0
    if not rest:
        return d_0, None
    r1, x0_2 = rest[0]
    curvature = (d_0 - (x0_1 - x0_2) / r1) / (r0 + r1)
    return d_0 + curvature * r0, curvature


def _with_noise(x: Tensor, noise: Noise, sigma: float, sigma_next: float, eta: float, s_noise: float) -> Tensor:
    """The stochastic integral of SDE-DPM-Solver++ over one step."""
    if eta == 0:
        return x
    spread = (-math.expm1(2 * eta * math.log(sigma_next / sigma))) ** 0.5
    return x + noise(sigma, sigma_next) * sigma_next * spread * s_noise
