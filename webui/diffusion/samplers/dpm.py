"""DPM-Solver, Lu et al. 2022 (arXiv:2206.00927): exponential integrators on eps. Here t = -log sigma. x: (c h w)."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from webui.diffusion.samplers.steps import ancestral_step, slope
from webui.diffusion.types import Answer, Churn, Eval, Noise, Steps
from webui.schema.errors import NumericError

Slopes = Generator[Eval, tuple[Tensor, Answer], tuple[Tensor, Tensor]]


def dpm_2(x: Tensor, sigmas: Sequence[float], noise: Noise, churn: Churn = Churn()) -> Steps:
    """DPM-Solver-2 (Algorithm 1): the slope halfway in log sigma; with the churn of Karras et al. 2022. Order 2."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.apply(x, sigma, len(sigmas) - 1, noise)
        x = yield from _midpoint_step(x, sigma_hat, sigma_next, step)
    return x


def dpm_2_ancestral(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """DPM-Solver-2 to sigma_down, then fresh noise up to sigma_next."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x = yield from _midpoint_step(x, sigma, sigma_down, step)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * s_noise * sigma_up
    return x


def _midpoint_step(x: Tensor, sigma: float, sigma_next: float, step: int) -> Steps:
    x, answer = yield Eval(x, sigma, step)
    d = slope(x, answer.denoised, sigma)
    if sigma_next > 0:
        sigma_mid = (sigma * sigma_next) ** 0.5
        middle, answer = yield Eval(x + d * (sigma_mid - sigma), sigma_mid, step)
        d = slope(middle, answer.denoised, sigma_mid)
    return x + d * (sigma_next - sigma)


def _eps_at(x: Tensor, t: float, step: int, progress: float | None = None) -> Slopes:
    """-> x (which may have been replaced) and eps there."""
    x, answer = yield Eval(x, math.exp(-t), step, progress)
    return x, slope(x, answer.denoised, math.exp(-t))


def _order_1(x: Tensor, eps: Tensor, t: float, t_next: float) -> Tensor:
    """Eq. 3.7."""
    return x - math.exp(-t_next) * math.expm1(t_next - t) * eps


def _order_2(x: Tensor, eps: Tensor, eps_1: Tensor, r1: float, t: float, t_next: float) -> Tensor:
    """Algorithm 4 (generic DPM-Solver-2): eps_1 at t + r1 h."""
    scale = math.exp(-t_next) * math.expm1(t_next - t)
    return x - scale * eps - scale / (2 * r1) * (eps_1 - eps)


def _phi_2(h: float) -> float:
    return math.expm1(h) / h - 1


def _order_3(x: Tensor, eps: Tensor, eps_1: Tensor, t: float, t_next: float, steps: tuple[int, float | None]) -> Steps:
    """Algorithm 5 (DPM-Solver-3), r1 = 1/3, r2 = 2/3: eps_1 at t + r1 h; asks for eps at t + r2 h. steps: for Eval."""
    r1, r2, h = 1 / 3, 2 / 3, t_next - t
    t_2 = t + r2 * h
    u_2 = _order_1(x, eps, t, t_2) - math.exp(-t_2) * r2 / r1 * _phi_2(r2 * h) * (eps_1 - eps)
    _, eps_2 = yield from _eps_at(u_2, t_2, *steps)
    return _order_1(x, eps, t, t_next) - math.exp(-t_next) / r2 * _phi_2(h) * (eps_2 - eps)


def _ancestral_end(t: float, t_next: float, t_end: float, eta: float) -> tuple[float, float]:
    """-> (t to step down to, sigma of the noise that leads back up to t_next); never beyond t_end."""
    sigma_down, _ = ancestral_step(math.exp(-t), math.exp(-t_next), eta)
    t_down = min(t_end, -math.log(sigma_down)) if eta else t_next
    return t_down, max(math.exp(-2 * t_next) - math.exp(-2 * t_down), 0.0) ** 0.5


def fast_orders(evals: int) -> list[int]:
    """Section 3.4 (DPM-Solver-fast): as many steps of order 3 as `evals` model calls allow, then lower ones."""
    whole, rest = divmod(evals, 3)
    return [3] * (whole - 1) + [2, 1] if rest == 0 else [3] * whole + [rest]


def dpm_fast(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """DPM-Solver-fast, section 3.4: even steps in log sigma between the first and the last sigma above 0.

    Spends one model call per step of `sigmas`, and `Eval.step` counts those.
    """
    if len(sigmas) == 2:  # one sigma above 0 is no interval
        return (yield from dpm_2(x, sigmas, noise))
    orders = fast_orders(len(sigmas) - 1)
    t_start, t_end = -math.log(sigmas[0]), -math.log(sigmas[-2])
    ts = [t_start + (t_end - t_start) * i / len(orders) for i in range(len(orders))] + [t_end]
    step = 0
    for order, (t, t_next) in zip(orders, pairwise(ts), strict=True):
        t_down, sigma_up = _ancestral_end(t, t_next, t_end, eta)
        x = yield from _singlestep(x, t, t_down, order, step)
        if sigma_up > 0:
            x = x + noise(math.exp(-t), math.exp(-t_next)) * s_noise * sigma_up
        step += order
    return x


def _singlestep(x: Tensor, t: float, t_next: float, order: int, step: int) -> Steps:
    """One step of DPM-Solver of order 1 to 3."""
    x, eps = yield from _eps_at(x, t, step)
    if order == 1:
        return _order_1(x, eps, t, t_next)
    r1 = 1 / order
    t_1 = t + r1 * (t_next - t)
    _, eps_1 = yield from _eps_at(_order_1(x, eps, t, t_1), t_1, step + 1)
    if order == 2:
        return _order_2(x, eps, eps_1, r1, t, t_next)
    return (yield from _order_3(x, eps, eps_1, t, t_next, (step + 2, None)))


def dpm_adaptive(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """DPM-Solver-23 with adaptive step size (Appendix C): order 2 estimates the error of order 3.

    Uses the first and the last sigma above 0, and reports its progress in log sigma. Raises NumericError on NaN.
    """
    if len(sigmas) == 2:  # one sigma above 0 is no interval
        return (yield from dpm_2(x, sigmas, noise))
    t, t_end = -math.log(sigmas[0]), -math.log(sigmas[-2])
    t_start, h, x_low_before, step = t, 0.05, x, 0
    while t < t_end - 1e-5:
        t_next = min(t_end, t + h)
        t_down, sigma_up = _ancestral_end(t, t_next, t_end, eta)
        progress = (t - t_start) / (t_end - t_start)
        x, x_low, x_high = yield from _orders_2_and_3(x, t, t_down, (step, progress))
        growth = _step_growth(x_low, x_high, x_low_before, 1.5 if eta else 3.0)
        if growth >= 0.81:
            x, x_low_before = x_high, x_low
            if sigma_up > 0:
                x = x + noise(math.exp(-t), math.exp(-t_next)) * s_noise * sigma_up
            t = t_next
        h *= growth
        step += 1
    return x


def _orders_2_and_3(
    x: Tensor, t: float, t_next: float, steps: tuple[int, float | None]
) -> Generator[Eval, tuple[Tensor, Answer], tuple[Tensor, Tensor, Tensor]]:
    """-> x, and the ends of one step by DPM-Solver-2 and -3, which share two of three model calls."""
    x, eps = yield from _eps_at(x, t, *steps)
    t_1 = t + (t_next - t) / 3
    _, eps_1 = yield from _eps_at(_order_1(x, eps, t, t_1), t_1, *steps)
    x_high = yield from _order_3(x, eps, eps_1, t, t_next, steps)
    return x, _order_2(x, eps, eps_1, 1 / 3, t, t_next), x_high


def _step_growth(x_low: Tensor, x_high: Tensor, x_low_before: Tensor, order: float) -> float:
    """By how much the next step may be longer; below 0.81 the step is to be done again."""
    tolerance = (0.05 * torch.maximum(x_low.abs(), x_low_before.abs())).clamp(min=0.0078)
    error = float(torch.linalg.vector_norm((x_low - x_high) / tolerance)) / x_low.numel() ** 0.5
    if not math.isfinite(error):
        raise NumericError("The model's answers are not numbers any more.", "Try another model, or --dtype float32.")
    return 1 + math.atan((1 / (error + 1e-8)) ** (1 / order) - 1)
