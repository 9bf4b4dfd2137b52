"""Steps along the slope: Euler and Heun with their variants. x: (c h w) throughout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from webui.diffusion.samplers.steps import ancestral_step, heun_step, slope, weighted
from webui.diffusion.schedules import karras_sigmas
from webui.diffusion.types import Churn, Eval, Noise, Steps


def euler(x: Tensor, sigmas: Sequence[float], noise: Noise, churn: Churn = Churn()) -> Steps:
    """Karras et al. 2022 (arXiv:2206.00364), Algorithm 2 without its correction."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.apply(x, sigma, len(sigmas) - 1, noise)
        x, answer = yield Eval(x, sigma_hat, step)
        x = x + slope(x, answer.denoised, sigma_hat) * (sigma_next - sigma_hat)
    return x


def euler_ancestral(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 1.0, s_noise: float = 1.0) -> Steps:
    """Euler to sigma_down, then fresh noise up to sigma_next."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x, answer = yield Eval(x, sigma, step)
        x = x + slope(x, answer.denoised, sigma) * (sigma_down - sigma)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * s_noise * sigma_up
    return x


def heun(x: Tensor, sigmas: Sequence[float], noise: Noise, churn: Churn = Churn()) -> Steps:
    """Karras et al. 2022 (arXiv:2206.00364), Algorithm 2. Order 2."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.apply(x, sigma, len(sigmas) - 1, noise)
        x = yield from heun_step(x, sigma_hat, sigma_next, step)
    return x


def heunpp2(x: Tensor, sigmas: Sequence[float], noise: Noise, churn: Churn = Churn()) -> Steps:
    """Heun++: up to two Euler steps are tried ahead, and their slopes weighed by sigma.

    Method of Carzit's sd-webui-samplers-scheduler (no paper): with k slopes, the later ones have the weights
    sigma_j / (k * sigmas[0]) and the first has the rest. Order 1.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.apply(x, sigma, len(sigmas) - 1, noise)
        x, answer = yield Eval(x, sigma_hat, step)
        slopes = [slope(x, answer.denoised, sigma_hat)]
        ahead, tried = x, [sigma_tried for sigma_tried in sigmas[step + 1 : step + 3] if sigma_tried > 0]
        for sigma_from, sigma_to in pairwise([sigma_hat, *tried]):
            ahead, answer = yield Eval(ahead + slopes[-1] * (sigma_to - sigma_from), sigma_to, step)
            slopes.append(slope(ahead, answer.denoised, sigma_to))
        later = [sigma_tried / (len(slopes) * sigmas[0]) for sigma_tried in tried]
        x = x + weighted([1 - sum(later), *later], slopes) * (sigma_next - sigma_hat)
    return x


def euler_cfgpp(x: Tensor, sigmas: Sequence[float], noise: Noise, churn: Churn = Churn()) -> Steps:
    """Euler with CFG++, Chung et al. 2024 (arXiv:2406.08070), Algorithm 2: noise is put back along the uncond slope."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = churn.apply(x, sigma, len(sigmas) - 1, noise)
        x, answer = yield Eval(x, sigma_hat, step)
        x = answer.denoised + sigma_next * slope(x, answer.needed_uncond, sigma_hat)
    return x


def restart(x: Tensor, sigmas: Sequence[float], noise: Noise, s_noise: float = 1.0) -> Steps:
    """Restart sampling, Xu et al. 2023 (arXiv:2306.14878), section 3: Heun down, and back up again with noise."""
    reached = sigmas[0]
    for step, (sigma, sigma_next) in enumerate(restart_intervals(sigmas)):
        if sigma > reached:
            x = x + noise(reached, sigma) * s_noise * (sigma**2 - reached**2) ** 0.5
        x = yield from heun_step(x, sigma, sigma_next, step)
        reached = sigma_next
    return x


def restart_intervals(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """The solver steps of `restart`, as many as `sigmas` has: from 20 on, a part of them repeats sigma 2 to 0.1.

    The ends of that part are the nearest sigmas there are; it and the rest are both spaced by Karras. Below 20 steps,
    and where one sigma is nearest to both ends or the lower one is 0, there is nothing to repeat; nor in a run that
    leaves noise for a refiner.
    """
    steps = len(sigmas) - 1
    if steps < 20 or sigmas[-1] > 0:
        return list(pairwise(sigmas))
    repeats, length = (2, steps // 4) if steps >= 36 else (1, 9)
    main = [*karras_sigmas(steps - repeats * length, sigmas[-2], sigmas[0]).tolist(), 0.0]
    low, high = _nearest(main, 0.1), _nearest(main, 2.0)
    if high >= low or main[low] == 0:
        return list(pairwise(sigmas))
    again = karras_sigmas(length + 1, main[low], main[high]).tolist()
    return [*pairwise(main[: low + 1]), *repeats * list(pairwise(again)), *pairwise(main[low:])]


def _nearest(sigmas: Sequence[float], wanted: float) -> int:
    return min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - wanted))
