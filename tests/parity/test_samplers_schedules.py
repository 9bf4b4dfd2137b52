"""Schedules against k-diffusion's functions, and the formulas of A1111 and Forge written a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from scipy import stats

from tests.diffusion.k_diffusion import k_diffusion
from tests.diffusion.small import SCHEDULE
from webui.diffusion.schedules import SCHEDULES, ScheduleOptions

STEPS = pytest.mark.parametrize("steps", [2, 11, 20, 50])
LOW, HIGH = SCHEDULE.sigma_min, SCHEDULE.sigma_max


def ours(label: str, steps: int, **options) -> np.ndarray:
    return SCHEDULES[label](SCHEDULE, steps, ScheduleOptions(**options)).numpy()


def near(values):
    return pytest.approx(np.asarray(values), rel=2e-5)


def their_levels():
    """k-diffusion's mapping between sigmas and timesteps, for the same model."""
    return k_diffusion("external").DiscreteEpsDDPMDenoiser(None, SCHEDULE.alphas_cumprod, quantize=False)


@pytest.mark.parametrize("steps", [1, 2, 20, 100])
def test_uniform_is_that_of_k_diffusion(steps):
    assert ours("Uniform", steps) == near(their_levels().get_sigmas(steps))


@pytest.mark.parametrize("steps", [1, 2, 20, 100])
@pytest.mark.parametrize(
    ("label", "name", "options"),
    [
        ("Karras", "get_sigmas_karras", {}),
        ("Karras", "get_sigmas_karras", {"rho": 3.0}),
        ("Exponential", "get_sigmas_exponential", {}),
        ("Polyexponential", "get_sigmas_polyexponential", {}),
        ("Polyexponential", "get_sigmas_polyexponential", {"rho": 1.7}),
    ],
)
def test_continuous_schedules_are_those_of_k_diffusion(label, name, options, steps):
    theirs = getattr(k_diffusion("sampling"), name)(steps, LOW, HIGH, **options)
    assert ours(label, steps, **options) == near(theirs)


@pytest.mark.parametrize("sigma", [0.03, 0.5, 1.0, 3.3, 14.0])
def test_sigmas_have_the_timesteps_of_k_diffusion(sigma):
    theirs = their_levels().sigma_to_t(torch.tensor([sigma], dtype=torch.float64))
    assert SCHEDULE.sigma_to_timestep(sigma) == pytest.approx(float(theirs), abs=1e-6)


@STEPS
def test_normal_and_sgm_uniform_space_the_timesteps(steps):
    t_to_sigma = their_levels().t_to_sigma
    assert ours("Normal", steps)[:-1] == near(t_to_sigma(torch.linspace(999, 0, steps)))
    assert ours("SGM Uniform", steps)[:-1] == near(t_to_sigma(torch.linspace(999, 0, steps + 1)[:-1]))


@STEPS
def test_simple_takes_every_nth_sigma_from_the_top(steps):
    sigmas = SCHEDULE.sigmas.tolist()
    assert ours("Simple", steps)[:-1] == near([sigmas[-(1 + int(i * 1000 / steps))] for i in range(steps)])


@STEPS
def test_turbo_rounds_equal_parts(steps):
    timesteps = (torch.arange(1, steps + 1) * (1000.0 / steps) - 1).flip(0).round().long().clip(0, 999)
    assert ours("Turbo", steps)[:-1] == near(SCHEDULE.sigmas[timesteps])


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50, 100, 500])
def test_ddim_has_the_timesteps_of_diffusers(steps):
    scheduler = DDIMScheduler(timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(steps)
    assert ours("DDIM", steps)[:-1] == near(SCHEDULE.sigmas[scheduler.timesteps])


@STEPS
def test_beta_is_spaced_by_scipys_quantiles(steps):
    for alpha, beta in ((0.6, 0.6), (0.5, 0.7)):
        shares = stats.beta.ppf(1 - np.linspace(0, 1, steps), alpha, beta)
        assert ours("Beta", steps, beta_alpha=alpha, beta_beta=beta)[:-1] == near(LOW + shares * (HIGH - LOW))


@STEPS
def test_kl_optimal_is_even_in_the_angle(steps):
    wanted = [math.tan(i / steps * math.atan(LOW) + (1 - i / steps) * math.atan(HIGH)) for i in range(steps)]
    assert ours("KL Optimal", steps)[:-1] == near(wanted)


@STEPS
@pytest.mark.parametrize(
    ("family", "table"),
    [
        ("sd1", [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]),
        ("sdxl", [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]),
    ],
)
def test_align_your_steps_interpolates_its_table_in_log_sigma(family, table, steps):
    places = np.linspace(0, 1, steps)
    wanted = np.exp(np.interp(places, np.linspace(0, 1, 11), np.log(table[::-1])))[::-1]
    assert ours("Align Your Steps", steps, family=family)[:-1] == near(wanted)
