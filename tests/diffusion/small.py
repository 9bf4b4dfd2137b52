"""A small random denoiser, schedules and noise for the tests of the samplers, all float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer

SHAPE = (4, 4, 5)


@dataclass(frozen=True)
class Betas:
    """The betas of Stable Diffusion."""

    kind: str = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000
    zero_terminal_snr: bool = False


SCHEDULE = NoiseSchedule(Betas())
ZERO_SNR = NoiseSchedule(Betas(zero_terminal_snr=True))


def start() -> Tensor:
    """Unit normal (c h w)."""
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


class RandomNetwork:
    """denoise(x, sigma) -> x0 of a random two-layer network, preconditioned as Karras et al. 2022, sigma_data 1."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = math.prod(SHAPE)
        self.first = torch.randn(size + 1, 64, dtype=torch.float64, generator=generator) / size**0.5
        self.second = torch.randn(64, size, dtype=torch.float64, generator=generator) / 8

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """x: (... c h w), sigma: number."""
        sigma = float(sigma)
        scaled = x.reshape(*x.shape[:-3], -1) / (1 + sigma**2) ** 0.5
        level = torch.full((*scaled.shape[:-1], 1), math.log(sigma), dtype=torch.float64)
        output = (torch.cat([scaled, level], -1) @ self.first).tanh() @ self.second
        return x / (1 + sigma**2) + sigma / (1 + sigma**2) ** 0.5 * output.reshape(x.shape)


def guided(cond: Callable[[Tensor, float], Tensor], uncond: Callable[[Tensor, float], Tensor]):
    """A denoiser whose answers carry both predictions, guided by 0.6."""

    def denoise(x: Tensor, sigma: float) -> Answer:
        low, high = uncond(x, sigma), cond(x, sigma)
        return Answer(low + 0.6 * (high - low), low)

    return denoise


def interval_noise(sigma_from: float, sigma_to: float) -> Tensor:
    """Some fixed noise that depends on the interval: whoever asks for another interval gets other numbers."""
    one, other = (torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (11, 12))
    return one * math.cos(float(sigma_from)) + other * math.sin(float(sigma_to))


def constant_noise(sigma_from: float, sigma_to: float) -> Tensor:
    """The same at every draw."""
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(11))


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((got - wanted).abs().max() / wanted.abs().max())
