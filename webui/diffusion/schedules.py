"""Noise levels: the model's own (`NoiseSchedule`) and the ones a sampler visits (`SCHEDULES`).

sigma = sqrt((1 - alpha_bar) / alpha_bar), where alpha_bar is the cumulative product of alphas of the DDPM papers.
Every schedule is a function (noise_schedule, steps, options) -> sigmas (steps + 1,), float64, descending, ending in 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

ZERO_TERMINAL_ALPHA_BAR: Final = 4.8973451890853435e-08
"""Stands in for 0 at the last timestep, where sigma would be infinite; the value that other UIs use."""


class ScheduleFacts(Protocol):
    """What `NoiseSchedule` reads of a model's configuration."""

    @property
    def kind(self) -> str: ...
    @property
    def beta_start(self) -> float: ...
    @property
    def beta_end(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def zero_terminal_snr(self) -> bool: ...


class NoiseSchedule:
    """The noise levels a model was trained on.

    alphas_cumprod, sigmas: (T,) float64, by timestep 0..T-1, so sigmas ascend.
    Raises ValueError for a kind of betas other than "scaled_linear" and "linear".
    """

    def __init__(self, config: ScheduleFacts) -> None:
        alphas_cumprod = (1 - _betas(config)).cumprod(0)
        if config.zero_terminal_snr:
            alphas_cumprod = with_zero_terminal_snr(alphas_cumprod)
        self.alphas_cumprod = alphas_cumprod
        self.sigmas = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
        self._log_sigmas = self.sigmas.log()

    @property
    def steps(self) -> int:
        """Number of timesteps T."""
        return len(self.sigmas)

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        return float(self.sigmas[-1])

    def sigma_to_timestep(self, sigma: float) -> float:
        """Timestep 0..T-1, linear in log sigma between the model's own; exact at them; clamped to the ends."""
        log_sigma = torch.tensor(float(sigma), dtype=torch.float64).log()
        low = min(max(int(torch.searchsorted(self._log_sigmas, log_sigma, right=True)) - 1, 0), self.steps - 2)
        log_low, log_high = self._log_sigmas[low], self._log_sigmas[low + 1]
        return low + min(max(float((log_sigma - log_low) / (log_high - log_low)), 0.0), 1.0)

    def timestep_to_sigma(self, timestep: float) -> float:
        """Inverse of `sigma_to_timestep` for any real timestep in 0..T-1."""
        return float(self.timesteps_to_sigmas(torch.tensor(timestep, dtype=torch.float64)))

    def timesteps_to_sigmas(self, timesteps: Tensor) -> Tensor:
        """`timestep_to_sigma` of each: (n,) real -> (n,) float64."""
        low = timesteps.long().clamp(max=self.steps - 2)
        return torch.lerp(self._log_sigmas[low], self._log_sigmas[low + 1], timesteps.double() - low).exp()


def _betas(config: ScheduleFacts) -> Tensor:
    """Ho et al. 2020 (arXiv:2006.11239), section 4, are "linear"; latent diffusion is linear in sqrt(beta)."""
    start, end, steps = config.beta_start, config.beta_end, config.steps
    if config.kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    if config.kind == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float64)
    raise ValueError(f"unknown kind of betas {config.kind!r}; known are 'scaled_linear' and 'linear'")


def with_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Lin et al. 2023 (arXiv:2305.08891), Algorithm 1, but ending in `ZERO_TERMINAL_ALPHA_BAR`. (T,) -> (T,)."""
    root = alphas_cumprod.sqrt()
    first, last = root[0], root[-1]
    shifted = ((root - last) * (first / (first - last))) ** 2
    shifted[-1] = ZERO_TERMINAL_ALPHA_BAR
    return shifted


@dataclass(frozen=True)
class ScheduleOptions:
    """What a user may change of a schedule; None is the schedule's or the model's own value.

    family: "sdxl...", as the refiner's, or anything else; chooses the table of Align Your Steps.
    """

    sigma_min: float | None = None
    sigma_max: float | None = None
    rho: float | None = None
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    family: str = "sd1"


DEFAULT_OPTIONS: Final = ScheduleOptions()
Schedule = Callable[[NoiseSchedule, int, ScheduleOptions], Tensor]


def _ends(model: NoiseSchedule, options: ScheduleOptions) -> tuple[float, float]:
    """(sigma_min, sigma_max) of the sampling run."""
    return options.sigma_min or model.sigma_min, options.sigma_max or model.sigma_max


def _ramp(start: float, end: float, n: int) -> Tensor:
    return torch.linspace(start, end, n, dtype=torch.float64)


def _then_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])


def _at_timesteps(model: NoiseSchedule, timesteps: Tensor) -> Tensor:
    """Sigmas at real timesteps (n,), with 0 after them."""
    return _then_zero(model.timesteps_to_sigmas(timesteps))


def _spread(model: NoiseSchedule, steps: int) -> Tensor:
    """0, T/n, 2T/n, ...: whole timesteps, or real ones where there are fewer timesteps than steps."""
    timesteps = torch.arange(steps, dtype=torch.float64) * model.steps / steps
    return timesteps.floor() if steps <= model.steps else timesteps.clamp(max=model.steps - 1)


def uniform(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Timesteps evenly from T-1 to 0."""
    return _at_timesteps(model, _ramp(model.steps - 1, 0, steps))


def karras_sigmas(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022 (arXiv:2206.00364), eq. 5, without the final 0: (n,) float64."""
    return _ramp(sigma_max ** (1 / rho), sigma_min ** (1 / rho), n) ** rho


def karras(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Even in sigma^(1/rho): Karras et al. 2022 (arXiv:2206.00364), eq. 5; rho = 7."""
    return _then_zero(karras_sigmas(steps, *_ends(model, options), options.rho or 7.0))


def exponential(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Even in log sigma."""
    return polyexponential(model, steps, replace(options, rho=1.0))


def polyexponential(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """A power of an even ramp in log sigma; rho = 1 is `exponential`."""
    low, high = (math.log(sigma) for sigma in _ends(model, options))
    return _then_zero((low + (high - low) * _ramp(1, 0, steps) ** (options.rho or 1.0)).exp())


def normal(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Timesteps evenly from that of sigma_max to that of sigma_min."""
    low, high = (model.sigma_to_timestep(sigma) for sigma in _ends(model, options))
    return _at_timesteps(model, _ramp(high, low, steps))


def sgm_uniform(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """As `normal` with one step more, whose lowest sigma gives way to 0; as Stability's generative-models do."""
    low, high = (model.sigma_to_timestep(sigma) for sigma in _ends(model, options))
    return _at_timesteps(model, _ramp(high, low, steps + 1)[:-1])


def kl_optimal(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Even in arctan sigma, the optimum for Gaussian data of Sabour et al. 2024 (arXiv:2404.14507); ends in 0."""
    low, high = (math.atan(sigma) for sigma in _ends(model, options))
    return _then_zero(_ramp(high, low, steps + 1)[:-1].tan())


ALIGNED_SD1: Final = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGNED_SDXL: Final = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
"""Optimised for 10 steps: https://research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html"""


def align_your_steps(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """The table of Sabour et al. 2024 (arXiv:2404.14507) for the model's family, log-linear in between."""
    table = np.log(ALIGNED_SDXL if options.family.startswith("sdxl") else ALIGNED_SD1)
    places = np.linspace(0, len(table) - 1, steps)
    return _then_zero(torch.from_numpy(np.exp(np.interp(places, np.arange(len(table)), table))))


def simple(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Every (T/n)-th timestep down from T-1."""
    return _at_timesteps(model, model.steps - 1 - _spread(model, steps))


def ddim(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Every (T/n)-th timestep up from 1, as latent diffusion spaces its DDIM: 20 steps are 951, 901, ..., 1.

    Where n does not divide T the stride is not whole: n steps stay n steps, and the last reaches up to T-1.
    """
    timesteps = _spread(model, steps).flip(0)
    return _at_timesteps(model, timesteps + 1 if steps < model.steps else timesteps)


def turbo(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """The ends of n equal parts of the timesteps, for models distilled to few steps: 4 steps are 999, 749, 499, 249."""
    timesteps = torch.arange(steps, 0, -1, dtype=torch.float64) * model.steps / steps - 1
    return _at_timesteps(model, timesteps.round() if steps <= model.steps else timesteps.clamp(min=0))


def beta(model: NoiseSchedule, steps: int, options: ScheduleOptions = DEFAULT_OPTIONS) -> Tensor:
    """Quantiles of a Beta distribution between the sigmas: Lee et al. 2024 (arXiv:2407.12173), alpha = beta = 0.6."""
    low, high = _ends(model, options)
    shares = beta_quantile(_ramp(1, 0, steps), options.beta_alpha, options.beta_beta)
    return _then_zero(low + shares * (high - low))


def beta_quantile(share: Tensor, alpha: float, beta: float) -> Tensor:
    """Inverse of the Beta distribution's cumulative function by bisection. share: (n,) in 0..1 -> (n,) in 0..1."""
    below_half = share <= _beta_cumulative(torch.tensor([0.5], dtype=torch.float64), alpha, beta)
    wanted = torch.where(below_half, share, 1 - share)  # of x, or of 1 - x where that is the smaller half
    both = torch.tensor([[alpha, beta], [beta, alpha]], dtype=torch.float64)[(~below_half).long()]  # (n 2)
    a, b = both.unbind(1)
    low, high = torch.zeros_like(share), torch.full_like(share, 0.5)
    for _ in range(60):
        middle = (low + high) / 2
        too_low = _beta_cumulative(middle, a, b) < wanted
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    return torch.where(below_half, high, 1 - high)


def _beta_cumulative(x: Tensor, alpha: Tensor | float, beta: Tensor | float) -> Tensor:
    """I_x(alpha, beta) for x (n,) in 0..1/2, where its series converges as 2^-k: DLMF 8.17.8 with 15.2.1."""
    a, b = torch.as_tensor(alpha, dtype=torch.float64), torch.as_tensor(beta, dtype=torch.float64)
    term = total = torch.ones_like(x)
    for k in range(60):
        term = term * x * (a + b + k) / (a + 1 + k)
        total = total + term
    log_norm = torch.lgamma(a + b) - torch.lgamma(a + 1) - torch.lgamma(b)
    return (a * x.log() + b * torch.log1p(-x) + log_norm).exp() * total


def visited_sigmas(
    model: NoiseSchedule,
    schedule: Schedule,
    steps: int,
    options: ScheduleOptions = DEFAULT_OPTIONS,
    *,
    discard_penultimate: bool = False,
    ends_only: bool = False,
) -> Tensor:
    """The sigmas (steps + 1,) that a sampler gets; the flags are those of its `SamplerInfo`."""
    if discard_penultimate and steps > 1:
        sigmas = schedule(model, steps + 1, options)
        return torch.cat([sigmas[:-2], sigmas[-1:]])
    sigmas = schedule(model, steps, options)
    if ends_only and steps > 1:  # such a sampler stops at the last sigma above 0, which has to be the smallest
        sigmas[-2] = _ends(model, options)[0]
    return sigmas


def img2img_steps(steps: int, denoising_strength: float, exact: bool = False) -> tuple[int, int]:
    """(steps of the schedule, how many of its last steps are run) for a denoising strength in 0..1.

    Strength 0.75 of 20 steps runs the last 16 of them; `exact` runs 20, which are the last of a longer schedule (at
    most 50 times as long).
    """
    strength = min(denoising_strength, 0.999)
    if exact:
        return int(steps / max(strength, 0.02)), steps
    return steps, min(int(strength * steps) + 1, steps)


SCHEDULES: Final[Mapping[str, Schedule]] = {
    "Automatic": uniform,
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "Polyexponential": polyexponential,
    "SGM Uniform": sgm_uniform,
    "KL Optimal": kl_optimal,
    "Align Your Steps": align_your_steps,
    "Simple": simple,
    "Normal": normal,
    "DDIM": ddim,
    "Beta": beta,
    "Turbo": turbo,
}
"""By label; "Automatic" is what the model was trained on, for a sampler of which nothing else is known."""
