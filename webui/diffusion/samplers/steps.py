"""What several families of samplers share. Notation of the papers: lambda = -log sigma, h = lambda_next - lambda."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from webui.diffusion.types import Eval, Steps


def slope(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """dx/dsigma of the probability flow, Karras et al. 2022 (arXiv:2206.00364), eq. 1 and 3; also the predicted eps."""
    return (x - denoised) / sigma


def weighted(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """The sum of slopes (c h w), each times its weight."""
    total = weights[0] * slopes[0]
    for weight, d in zip(weights[1:], list(slopes)[1:], strict=True):
        total = total + weight * d
    return total


def first_order(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """DPM-Solver++ of order 1, Lu et al. 2022 (arXiv:2211.01095), section 4: exact if `denoised` stays as it is.

    The same step as DDIM's and Euler's; written so, it lands on `denoised` exactly at sigma_next = 0.
    """
    return denoised + sigma_next / sigma * (x - denoised)


def ancestral_step(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Split a step into (sigma_down, sigma_up), sigma_next^2 = sigma_down^2 + sigma_up^2.

    Song et al. 2020 (arXiv:2010.02502), eq. 16, in x / sqrt(alpha_bar); eta = 1 is DDPM's posterior, 0 is no noise.
    """
    sigma_up = min(sigma_next, eta * (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5)
    return (sigma_next**2 - sigma_up**2) ** 0.5, sigma_up


def heun_step(x: Tensor, sigma: float, sigma_next: float, step: int) -> Steps:
    """Karras et al. 2022, Algorithm 2, lines 7-11: Euler, then the mean of both slopes; Euler alone down to 0."""
    x, answer = yield Eval(x, sigma, step)
    d = slope(x, answer.denoised, sigma)
    if sigma_next > 0:
        ahead, answer = yield Eval(x + d * (sigma_next - sigma), sigma_next, step)
        d = (d + slope(ahead, answer.denoised, sigma_next)) / 2
    return x + d * (sigma_next - sigma)
