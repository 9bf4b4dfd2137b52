"""Every sampler against an independent one, in float64, on a random network.

k-diffusion where it has the method, diffusers where that is the same method, else the paper written a second time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler, UniPCMultistepScheduler
from scipy import integrate
from torch import Tensor

from tests.diffusion.k_diffusion import k_diffusion
from tests.diffusion.small import SCHEDULE, RandomNetwork, constant_noise, guided, interval_noise, relative_error, start
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import SCHEDULES, ScheduleOptions
from webui.diffusion.types import drive

NETWORK = RandomNetwork(0)
COND_AND_UNCOND = guided(RandomNetwork(0), RandomNetwork(1))
TOLERANCE = 1e-5
STEPS = pytest.mark.parametrize("steps", [1, 2, 20])


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Independent code makes tensors of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sigmas_of(label: str, steps: int) -> Tensor:
    return SCHEDULES[label](SCHEDULE, steps, ScheduleOptions())


def ours(label: str, x: Tensor, sigmas: Tensor, noise=interval_noise, denoise: Any = NETWORK, **options: Any) -> Tensor:
    return drive(SAMPLERS[label].run(x, sigmas.tolist(), noise, **options), denoise)


def batched(x: Tensor, sigma: Tensor) -> Tensor:
    """The network as k-diffusion calls it: x (b c h w), sigma (b,)."""
    return NETWORK(x, sigma[0])


# -- k-diffusion ------------------------------------------------------------------------------------------------------

STOCHASTIC = {
    "Euler a": "sample_euler_ancestral",
    "DPM2 a": "sample_dpm_2_ancestral",
    "DPM++ 2S a": "sample_dpmpp_2s_ancestral",
    "DPM++ SDE": "sample_dpmpp_sde",
    "DPM++ 2M SDE": "sample_dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "sample_dpmpp_2m_sde",
    "DPM++ 3M SDE": "sample_dpmpp_3m_sde",
}
CHURNED = {"Euler": "sample_euler", "Heun": "sample_heun", "DPM2": "sample_dpm_2"}
PLAIN = {"LMS": "sample_lms", "DPM++ 2M": "sample_dpmpp_2m", **CHURNED}


def of_k_diffusion(name: str, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return getattr(k_diffusion("sampling"), name)(batched, x[None], *args, disable=True, **kwargs)[0]


def their_noise(sigma: Tensor, sigma_next: Tensor) -> Tensor:
    return interval_noise(float(sigma), float(sigma_next))[None]


@STEPS
@pytest.mark.parametrize("schedule", ["Karras", "Uniform"])
@pytest.mark.parametrize("label", PLAIN)
def test_ode_samplers_agree_with_k_diffusion(label, schedule, steps):
    sigmas = sigmas_of(schedule, steps)
    x = start() * sigmas[0]
    assert relative_error(ours(label, x, sigmas), of_k_diffusion(PLAIN[label], x, sigmas)) < TOLERANCE


@pytest.mark.parametrize("steps", [2, 3, 20])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("label", STOCHASTIC)
def test_stochastic_samplers_agree_with_k_diffusion(label, eta, steps):
    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    form = {"solver_type": "heun"} if label == "DPM++ 2M SDE Heun" else {}
    theirs = of_k_diffusion(STOCHASTIC[label], x, sigmas, eta=eta, s_noise=1.1, noise_sampler=their_noise, **form)
    assert relative_error(ours(label, x, sigmas, eta=eta, s_noise=1.1), theirs) < TOLERANCE


@pytest.mark.parametrize(
    "options", [{"s_churn": 5.0}, {"s_churn": 40.0, "s_tmin": 0.1, "s_tmax": 5.0, "s_noise": 1.05}]
)
@pytest.mark.parametrize("label", CHURNED)
def test_churn_agrees_with_k_diffusion(label, options, monkeypatch):
    monkeypatch.setattr(torch, "randn_like", lambda x: constant_noise(0, 0)[None])
    sigmas = sigmas_of("Karras", 20)
    x = start() * sigmas[0]
    theirs = of_k_diffusion(CHURNED[label], x, sigmas, **options)
    assert relative_error(ours(label, x, sigmas, constant_noise, **options), theirs) < TOLERANCE
    assert relative_error(ours(label, x, sigmas), theirs) > 1e-3


@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning")
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("steps", [2, 3, 19, 20, 21])
def test_dpm_fast_agrees_with_k_diffusion(steps, eta):
    sigmas = sigmas_of("Uniform", steps)
    x = start() * sigmas[0]
    theirs = of_k_diffusion("sample_dpm_fast", x, sigmas[-2], sigmas[0], steps, eta=eta, noise_sampler=their_noise)
    assert relative_error(ours("DPM fast", x, sigmas, eta=eta), theirs) < TOLERANCE


@pytest.mark.filterwarnings("ignore:To copy construct:UserWarning")
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_dpm_adaptive_agrees_with_k_diffusion(eta):
    sigmas = sigmas_of("Uniform", 20)
    x = start() * sigmas[0]
    theirs = of_k_diffusion("sample_dpm_adaptive", x, sigmas[-2], sigmas[0], eta=eta, noise_sampler=their_noise)
    assert relative_error(ours("DPM adaptive", x, sigmas, eta=eta), theirs) < TOLERANCE


# -- diffusers: the DDPM family, on its own latents and timesteps ------------------------------------------------------


def eps_of(z: Tensor, timestep: Any) -> Tensor:
    """The noise that the network predicts of the variance-preserving latent z at a timestep of the model."""
    sigma = float(SCHEDULE.sigmas[int(timestep)])
    x = z * (1 + sigma**2) ** 0.5
    return (x - NETWORK(x, sigma)) / sigma


def of_diffusers(scheduler: Any, steps: int, z: Tensor, **options: Any) -> Tensor:
    """Run a scheduler of diffusers from z (c h w) at its first timestep."""
    scheduler.alphas_cumprod = SCHEDULE.alphas_cumprod
    scheduler.set_timesteps(steps)
    z = z[None]
    for timestep in scheduler.timesteps:
        z = scheduler.step(eps_of(z, timestep), timestep, z, **options).prev_sample
    return z[0]


def ddpm_family(label: str, steps: int, noise=interval_noise, **options: Any) -> Tensor:
    sigmas = sigmas_of("DDIM", steps)
    return ours(label, SAMPLERS[label].initial_x(start(), float(sigmas[0])), sigmas, noise, **options)


def like_latent_diffusion(scheduler: type, **config: Any) -> Any:
    return scheduler(timestep_spacing="leading", steps_offset=1, **config)


def seeded_noise() -> Callable[[float, float], Tensor]:
    generator = torch.Generator().manual_seed(5)
    return lambda sigma_from, sigma_to: torch.randn(start().shape, generator=generator)


@STEPS
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_agrees_with_diffusers(steps, eta):
    scheduler = like_latent_diffusion(DDIMScheduler, clip_sample=False, set_alpha_to_one=True)
    generator = torch.Generator().manual_seed(5)
    theirs = of_diffusers(scheduler, steps, start(), eta=eta, generator=generator)
    assert relative_error(ddpm_family("DDIM", steps, seeded_noise(), eta=eta), theirs) < TOLERANCE


@STEPS
def test_ddpm_agrees_with_diffusers(steps):
    scheduler = like_latent_diffusion(DDPMScheduler, clip_sample=False, variance_type="fixed_small")
    theirs = of_diffusers(scheduler, steps, start(), generator=torch.Generator().manual_seed(5))
    assert relative_error(ddpm_family("DDPM", steps, seeded_noise()), theirs) < TOLERANCE


@pytest.mark.parametrize("steps", [2, 20, 50])
def test_plms_agrees_with_diffusers(steps):
    scheduler = like_latent_diffusion(PNDMScheduler, skip_prk_steps=True, set_alpha_to_one=True)
    assert relative_error(ddpm_family("PLMS", steps), of_diffusers(scheduler, steps, start())) < TOLERANCE


@STEPS
def test_unipc_agrees_with_diffusers(steps):
    scheduler = UniPCMultistepScheduler(solver_order=3, solver_type="bh1")
    scheduler.set_timesteps(steps)
    sigmas = sigmas_of("DDIM", steps)
    sigmas[-1] = 0.01  # at 0 their infinite step times no difference is NaN
    scheduler.sigmas = sigmas
    scheduler.timesteps = torch.tensor([round(SCHEDULE.sigma_to_timestep(s)) for s in sigmas[:-1].tolist()])
    z = start()[None]
    for timestep in scheduler.timesteps:
        z = scheduler.step(eps_of(z, timestep), timestep, z).prev_sample
    x = SAMPLERS["UniPC"].initial_x(start(), float(sigmas[0]))
    assert relative_error(ours("UniPC", x, sigmas), z[0] * (1 + 0.01**2) ** 0.5) < TOLERANCE


# -- the papers, written a second time --------------------------------------------------------------------------------


def abar(sigma: float) -> float:
    return 1 / (1 + sigma**2)


@STEPS
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_cfgpp_agrees_with_its_paper(steps, eta):
    """arXiv:2406.08070, Algorithm 2, on z, with the noise of DDIM's eq. 16."""
    sigmas = sigmas_of("DDIM", steps)
    x = SAMPLERS["DDIM CFG++"].initial_x(start(), float(sigmas[0]))
    z = start()
    for sigma, sigma_next in itertools.pairwise(sigmas.tolist()):
        a, a_next = abar(sigma), abar(sigma_next)
        answer = COND_AND_UNCOND(z / a**0.5, sigma)
        eps_guided, eps_uncond = ((z - a**0.5 * x0) / (1 - a) ** 0.5 for x0 in (answer.denoised, answer.uncond))
        spread = eta * ((1 - a_next) / (1 - a)) ** 0.5 * (1 - a / a_next) ** 0.5
        x0 = (z - (1 - a) ** 0.5 * eps_guided) / a**0.5
        z = a_next**0.5 * x0 + (1 - a_next - spread**2) ** 0.5 * eps_uncond + spread * interval_noise(sigma, sigma_next)
    assert relative_error(ours("DDIM CFG++", x, sigmas, denoise=COND_AND_UNCOND, eta=eta), z) < TOLERANCE


@STEPS
def test_euler_cfgpp_agrees_with_its_paper(steps):
    """arXiv:2406.08070, Algorithm 2, is an Euler step whose slope is the uncond one, moved by guided - uncond."""
    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    got = ours("Euler CFG++", x, sigmas, denoise=COND_AND_UNCOND)
    for sigma, sigma_next in itertools.pairwise(sigmas.tolist()):
        answer = COND_AND_UNCOND(x, sigma)
        x = x + (x - answer.uncond) / sigma * (sigma_next - sigma) + (answer.denoised - answer.uncond)
    assert relative_error(got, x) < TOLERANCE


@STEPS
def test_lcm_agrees_with_its_paper(steps):
    """arXiv:2310.04378, Algorithm 3, on z: f(z, t) then alpha x0 + sigma noise."""
    sigmas = sigmas_of("SGM Uniform", steps)
    x = start() * sigmas[0]
    got = ours("LCM", x, sigmas)
    x0 = NETWORK(x, sigmas[0])
    for before, sigma in itertools.pairwise(sigmas[:-1].tolist()):
        z = abar(sigma) ** 0.5 * x0 + (1 - abar(sigma)) ** 0.5 * interval_noise(before, sigma)
        x0 = NETWORK(z / abar(sigma) ** 0.5, sigma)
    assert relative_error(got, x0) < TOLERANCE


@pytest.mark.parametrize(("steps", "loops", "length"), [(2, 0, 0), (20, 1, 9), (40, 2, 10)])
def test_restart_agrees_with_its_paper(steps, loops, length):
    """arXiv:2306.14878, Algorithm 1: K times up from t_min to t_max by noise and down again by Heun."""
    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    got = ours("Restart", x, sigmas, s_noise=1.1)

    def heun(x: Tensor, levels: list[float]) -> Tensor:
        for sigma, sigma_next in itertools.pairwise(levels):
            d = (x - NETWORK(x, sigma)) / sigma
            euler = x + (sigma_next - sigma) * d
            if sigma_next == 0:
                return euler
            x = x + (sigma_next - sigma) * (d + (euler - NETWORK(euler, sigma_next)) / sigma_next) / 2
        return x

    def karras(n: int, low: float, high: float) -> list[float]:
        return [(high ** (1 / 7) + i / (n - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(n)]

    main = [*karras(steps - loops * length, SCHEDULE.sigma_min, SCHEDULE.sigma_max), 0.0]
    if loops:
        low, high = (int(np.abs(np.array(main) - wanted).argmin()) for wanted in (0.1, 2.0))
        x = heun(x, main[: low + 1])
        for _ in range(loops):
            x = x + 1.1 * interval_noise(main[low], main[high]) * (main[high] ** 2 - main[low] ** 2) ** 0.5
            x = heun(x, karras(length + 1, main[low], main[high]))
        x = heun(x, main[low:])
    else:
        x = heun(x, main)
    assert relative_error(got, x) < TOLERANCE


@STEPS
def test_heunpp2_agrees_with_its_definition(steps):
    """Euler at the last step, two slopes at the one before, three elsewhere; weights sigma_j / (k sigma_0)."""
    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    got = ours("HeunPP2", x, sigmas)
    s = sigmas.tolist()

    def d(x: Tensor, i: int) -> Tensor:
        return (x - NETWORK(x, s[i])) / s[i]

    for i in range(steps):
        d1, dt = d(x, i), s[i + 1] - s[i]
        if i == steps - 1:
            x = x + dt * d1
            continue
        x2 = x + dt * d1
        d2 = d(x2, i + 1)
        if i == steps - 2:
            w2 = s[i + 1] / (2 * s[0])
            x = x + dt * ((1 - w2) * d1 + w2 * d2)
            continue
        d3 = d(x2 + (s[i + 2] - s[i + 1]) * d2, i + 2)
        w2, w3 = s[i + 1] / (3 * s[0]), s[i + 2] / (3 * s[0])
        x = x + dt * ((1 - w2 - w3) * d1 + w2 * d2 + w3 * d3)
    assert relative_error(got, x) < TOLERANCE


def multistep(x: Tensor, sigmas: Tensor, weights: Callable[[list[float], int], list[float]]) -> Tensor:
    """x + sum of weights(sigmas, i) times the slopes, newest first; x0 at the end."""
    s, slopes = sigmas.tolist(), []
    for i, sigma in enumerate(s[:-1]):
        x0 = NETWORK(x, sigma)
        if s[i + 1] == 0:
            return x0
        slopes.insert(0, (x - x0) / sigma)
        x = x + sum(w * d for w, d in zip(weights(s, i), slopes, strict=False))
    return x


@STEPS
def test_ipndm_agrees_with_its_paper(steps):
    """arXiv:2204.13902, section 3.3: the Adams-Bashforth weights, of lower order for the first steps."""

    def weights(s: list[float], i: int) -> list[float]:
        table = [[1], [3 / 2, -1 / 2], [23 / 12, -4 / 3, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -3 / 8]]
        return [(s[i + 1] - s[i]) * w for w in table[min(i, 3)]]

    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    assert relative_error(ours("IPNDM", x, sigmas), multistep(x, sigmas, weights)) < TOLERANCE


@STEPS
def test_ipndm_v_agrees_with_its_published_weights(steps):
    """The weights of diff-sampler for steps h (coming), p, q, r (past, newest first), multiplied out."""

    def weights(s: list[float], i: int) -> list[float]:
        h = s[i + 1] - s[i]
        p, q, r = (s[i - k] - s[i - k - 1] if i > k else math.nan for k in range(3))
        third = (1 - h * h / (3 * p * (p + q))) / 2
        ends = (1 / 2 - h / (6 * (h + p))) + (1 - h / (2 * (h + p))) * h / (6 * (h + p + q))
        fourth = ends * h * (h + p) * (h + p + q) / (p * (p + q) * (p + q + r))
        far = p * (p + q) / (q * (q + r))
        rows = [
            [1],
            [1 + h / (2 * p), -h / (2 * p)],
            [1 + h / (2 * p) + third, -h / (2 * p) - third * (p + q) / q, third * p / q],
            [
                1 + h / (2 * p) + third + fourth,
                -h / (2 * p) - third * (p + q) / q - fourth * (1 + p / q + far),
                third * p / q + fourth * (p / q + far * (q + r) / r),
                -fourth * far * p / q,
            ],
        ]
        return [h * w for w in rows[min(i, 3)]]

    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    assert relative_error(ours("IPNDM_V", x, sigmas), multistep(x, sigmas, weights)) < TOLERANCE


@STEPS
def test_deis_agrees_with_its_paper(steps):
    """arXiv:2204.13902, eq. 14-15 for the VP process: C_j = integral of Psi(t', tau) beta / (2 sqrt(1 - abar)) l_j.

    Written for z; divided by sqrt(abar(t')), the weight of eps is a step in x. The noise scale beta(t) is that of the
    VP process with sigma(1) = 80 and sigma(0.001) = 0.002.
    """
    beta_d = 2 * (math.log(0.002**2 + 1) / 0.001 - math.log(80**2 + 1)) / (0.001 - 1)
    beta_min = math.log(80**2 + 1) - beta_d / 2

    def log_abar(t: float) -> float:
        return -(beta_d * t * t / 2 + beta_min * t)

    def time(sigma: float) -> float:
        roots = np.roots([beta_d / 2, beta_min, -math.log(1 + sigma**2)])
        return float(roots.max())

    def weights(s: list[float], i: int) -> list[float]:
        t, t_next = time(s[i]), time(s[i + 1])
        nodes = [time(s[i - k]) for k in range(min(i + 1, 3))]

        def integrand(tau: float, j: int) -> float:
            psi = math.exp((log_abar(t_next) - log_abar(tau)) / 2)
            lagrange = math.prod((tau - nodes[k]) / (nodes[j] - nodes[k]) for k in range(len(nodes)) if k != j)
            return psi * (beta_min + beta_d * tau) / (2 * (1 - math.exp(log_abar(tau))) ** 0.5) * lagrange

        scale = math.exp(log_abar(t_next) / 2)
        return [integrate.quad(integrand, t, t_next, args=(j,), epsabs=1e-11)[0] / scale for j in range(len(nodes))]

    sigmas = sigmas_of("Karras", steps)
    x = start() * sigmas[0]
    assert relative_error(ours("DEIS", x, sigmas), multistep(x, sigmas, weights)) < TOLERANCE
