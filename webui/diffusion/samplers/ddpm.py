"""The DDPM family: predict x0, then put noise back. x: (c h w), the papers' latent divided by sqrt(alpha_bar)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from webui.diffusion.samplers.steps import ancestral_step, first_order, slope
from webui.diffusion.types import Eval, Noise, Steps


def lcm(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Latent consistency models, Luo et al. 2023 (arXiv:2310.04378), Algorithm 3: jump to x0, then noise anew."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        x = answer.denoised
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * sigma_next
    return x


def ddim(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 0.0) -> Steps:
    """DDIM, Song et al. 2020 (arXiv:2010.02502), eq. 12: predicted x0, direction to x_t, random noise.

    All divided by sqrt(alpha_bar) of the next step, which makes sqrt(1 - alpha_bar - spread^2) into sigma_down.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x, answer = yield Eval(x, sigma, step)
        x = first_order(x, answer.denoised, sigma, sigma_down)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * sigma_up
    return x


def ddim_cfgpp(x: Tensor, sigmas: Sequence[float], noise: Noise, eta: float = 0.0) -> Steps:
    """DDIM with CFG++, Chung et al. 2024 (arXiv:2406.08070), Algorithm 2: the direction to x_t is the uncond eps."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x, answer = yield Eval(x, sigma, step)
        x = answer.denoised + sigma_down * slope(x, answer.needed_uncond, sigma)
        if sigma_up > 0:
            x = x + noise(sigma, sigma_next) * sigma_up
    return x


def ddpm(x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DDPM, Ho et al. 2020 (arXiv:2006.11239), eq. 6-7: the posterior q(x_{t-1} | x_t, x0) at the predicted x0.

    Divided by sqrt(alpha_bar), its mean is x0 + w (x - x0) and its variance (1 - w) sigma_next^2, with
    w = sigma_next^2 / sigma^2.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, answer = yield Eval(x, sigma, step)
        w = (sigma_next / sigma) ** 2
        x = answer.denoised + w * (x - answer.denoised)
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * (1 - w) ** 0.5 * sigma_next
    return x
