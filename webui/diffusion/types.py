"""The words between a sampler and whoever drives it.

A sampler is a generator for one image. It yields an `Eval` where it needs the model and is sent `(x, Answer)` back;
`x` returns because a hook of the driver may have replaced it. All latents are variance-exploding,
`x = x0 + sigma * eps`; the variance-preserving latent of the DDPM papers is `x / sqrt(1 + sigma^2)`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Eval:
    """A point where the sampler needs the model.

    x: (c h w), sigma: noise level, > 0, step: solver step, 0-based.
    progress: share of the way done, 0..1; given by adaptive samplers alone, which do not know their number of steps.
    """

    x: Tensor
    sigma: float
    step: int
    progress: float | None = None


@dataclass(frozen=True)
class Answer:
    """The model's answer at an `Eval`.

    denoised: predicted x0 after guidance (c h w).
    uncond: predicted x0 of the uncond row (c h w), where it was computed.
    """

    denoised: Tensor
    uncond: Tensor | None = None

    @property
    def needed_uncond(self) -> Tensor:
        """`uncond` for the samplers that cannot do without. Raises ValueError where it is missing."""
        if self.uncond is None:
            raise ValueError("CFG++ samplers need the uncond prediction in every answer")
        return self.uncond


Steps = Generator[Eval, tuple[Tensor, Answer], Tensor]
"""A running sampler: returns the final latent (c h w)."""

Noise = Callable[[float, float], Tensor]
"""noise(sigma_from, sigma_to) -> unit normal (c h w), a pure function of the image's seed and the draw or interval."""

Sampler = Callable[..., Steps]
"""sampler(x (c h w), sigmas (n+1,) descending, noise, **options)."""

CHURN_OPTIONS = ("s_churn", "s_tmin", "s_tmax", "s_noise")


@dataclass(frozen=True)
class Churn:
    """Stochastic churn of Karras et al. 2022 (arXiv:2206.00364), Algorithm 2, lines 4-6."""

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = float("inf")
    s_noise: float = 1.0

    def apply(self, x: Tensor, sigma: float, steps: int, noise: Noise) -> tuple[Tensor, float]:
        """x (c h w) at sigma -> (x (c h w), sigma_hat), noised up by gamma = min(s_churn / steps, sqrt(2) - 1)."""
        gamma = min(self.s_churn / steps, 2**0.5 - 1) if self.s_tmin <= sigma <= self.s_tmax else 0.0
        if gamma == 0:
            return x, sigma
        sigma_hat = sigma * (1 + gamma)
        return x + noise(sigma, sigma_hat) * self.s_noise * (sigma_hat**2 - sigma**2) ** 0.5, sigma_hat


@dataclass(frozen=True)
class SamplerInfo:
    """A sampler and the facts about it that the faces and the engine need.

    options: names that `run` takes, of eta, s_churn, s_tmin, s_tmax, s_noise.
    noise: "draws" (independent draws, in order) or "brownian" (increments of one Brownian path).
    stochastic: fresh noise enters with the default options.
    evals_per_step: model calls per solver step (1 or 2; the last step may need one fewer).
    needs_uncond: the uncond row is computed at any CFG scale, for `Answer.uncond`.
    cfg_multiplier: the CFG scale is multiplied by this before guidance (CFG++ works on 0..1).
    timestep_based: starts as the DDPM family does, from sqrt(1 + sigma^2) * eps instead of sigma * eps.
    discard_penultimate: leaves out the lowest sigma above 0 of a schedule with one step more.
    ends_only: looks at the first and the last sigma above 0 alone, and ends at the latter.
    adaptive: chooses the number of its steps, and reports `Eval.progress`.
    fixed: arguments of `function` that the label stands for.
    """

    label: str
    function: Sampler
    options: tuple[str, ...] = ()
    noise: Literal["draws", "brownian"] = "draws"
    stochastic: bool = False
    evals_per_step: int = 1
    needs_uncond: bool = False
    cfg_multiplier: float = 1.0
    timestep_based: bool = False
    discard_penultimate: bool = False
    ends_only: bool = False
    adaptive: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise, **options: float | None) -> Steps:
        """Start the sampler. x: (c h w), sigmas: (n+1,) descending to 0; an option that is None keeps its default.

        Options that this sampler does not take are refused with TypeError.
        """
        unknown = sorted(set(options) - set(self.options))
        if unknown:
            raise TypeError(f"{self.label} takes no {', '.join(unknown)}; it takes {', '.join(self.options) or 'none'}")
        arguments: dict[str, Any] = {
            **self.fixed,
            **{name: value for name, value in options.items() if value is not None},
        }
        if "s_churn" in self.options:
            arguments["churn"] = Churn(**{name: arguments.pop(name) for name in CHURN_OPTIONS if name in arguments})
        return self.function(x, [float(sigma) for sigma in sigmas], noise, **arguments)

    def initial_x(self, noise: Tensor, sigma: float) -> Tensor:
        """The latent that txt2img starts from. noise: unit normal (c h w), sigma: the first of the schedule."""
        return noise * ((1 + sigma**2) ** 0.5 if self.timestep_based else sigma)


def drive(steps: Steps, denoise: Callable[[Tensor, float], Tensor | Answer]) -> Tensor:
    """Run one sampler to its end with a callable denoise(x (c h w), sigma) -> denoised (c h w) or an `Answer`."""
    try:
        wish = next(steps)
        while True:
            answer = denoise(wish.x, wish.sigma)
            wish = steps.send((wish.x, answer if isinstance(answer, Answer) else Answer(answer)))
    except StopIteration as end:
        return end.value
