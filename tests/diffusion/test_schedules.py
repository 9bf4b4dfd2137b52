from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.diffusion.small import SCHEDULE, ZERO_SNR, Betas
from webui.diffusion.schedules import (
    SCHEDULES,
    NoiseSchedule,
    ScheduleOptions,
    beta_quantile,
    img2img_steps,
    karras_sigmas,
    visited_sigmas,
)
from webui.schema.names import SCHEDULE_FACTS, SCHEDULE_NAMES


def near(values, **kwargs):
    return pytest.approx(values, rel=2e-4, **kwargs)


# -- the model's own levels -------------------------------------------------------------------------------------------


def test_stable_diffusion_has_the_sigmas_that_everybody_knows():
    assert SCHEDULE.steps == 1000
    assert SCHEDULE.sigma_min == pytest.approx(0.0291672, abs=1e-6)
    assert SCHEDULE.sigma_max == pytest.approx(14.614642, abs=1e-5)
    assert float(SCHEDULE.alphas_cumprod[0]) == pytest.approx(1 - 0.00085)
    assert float(SCHEDULE.alphas_cumprod[-1]) == pytest.approx(0.0046601, abs=1e-6)


def test_sigma_and_alpha_bar_say_the_same():
    assert torch.allclose(1 / (1 + SCHEDULE.sigmas**2), SCHEDULE.alphas_cumprod, rtol=1e-12)


@pytest.mark.parametrize("schedule", [SCHEDULE, ZERO_SNR])
def test_every_timestep_comes_back_exactly(schedule):
    assert [schedule.sigma_to_timestep(sigma) for sigma in schedule.sigmas.tolist()] == list(range(1000))
    assert [schedule.timestep_to_sigma(t) for t in range(1000)] == pytest.approx(schedule.sigmas.tolist(), rel=1e-12)


@given(st.floats(0, 999))
def test_a_timestep_between_two_comes_back_too(timestep):
    assert SCHEDULE.sigma_to_timestep(SCHEDULE.timestep_to_sigma(timestep)) == pytest.approx(timestep, abs=1e-6)


@pytest.mark.parametrize(("sigma", "timestep"), [(0.001, 0), (100.0, 999)])
def test_sigmas_beyond_the_model_are_its_first_and_last_timestep(sigma, timestep):
    assert SCHEDULE.sigma_to_timestep(sigma) == timestep


def test_zero_terminal_snr_ends_in_almost_nothing_and_keeps_the_start():
    assert float(ZERO_SNR.alphas_cumprod[-1]) == pytest.approx(4.9e-8, rel=1e-2)
    assert float(ZERO_SNR.alphas_cumprod[0]) == pytest.approx(float(SCHEDULE.alphas_cumprod[0]), rel=1e-12)
    assert ZERO_SNR.sigma_max == pytest.approx(4518.76, rel=1e-4)
    assert (ZERO_SNR.sigmas.diff() > 0).all()


def test_zero_terminal_snr_shifts_and_scales_the_root_of_alpha_bar():
    """arXiv:2305.08891, Algorithm 1, but for the last entry."""
    root = SCHEDULE.alphas_cumprod.sqrt()
    wanted = (root - root[-1]) * root[0] / (root[0] - root[-1])
    assert torch.allclose(ZERO_SNR.alphas_cumprod.sqrt()[:-1], wanted[:-1], rtol=1e-12)


def test_linear_betas_are_those_of_ddpm():
    schedule = NoiseSchedule(Betas(kind="linear", beta_start=1e-4, beta_end=0.02))
    alphas = 1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert torch.allclose(schedule.alphas_cumprod, alphas.cumprod(0))


def test_an_unknown_kind_of_betas_is_named():
    with pytest.raises(ValueError, match="cosine"):
        NoiseSchedule(Betas(kind="cosine"))


# -- the levels a sampler visits --------------------------------------------------------------------------------------


def test_the_table_has_every_named_schedule_and_no_other():
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 30, 333, 600, 999, 1000])
@pytest.mark.parametrize("label", SCHEDULE_NAMES)
def test_every_schedule_descends_to_0_in_as_many_steps_as_asked(label, steps):
    for model in (SCHEDULE, ZERO_SNR):
        sigmas = SCHEDULES[label](model, steps, ScheduleOptions())
        assert sigmas.shape == (steps + 1,)
        assert sigmas.dtype == torch.float64
        assert (sigmas.diff() < 0).all()
        assert sigmas[-1] == 0
        assert sigmas[-2] >= 0.0289


@pytest.mark.parametrize("label", SCHEDULE_NAMES)
def test_more_steps_than_timesteps_still_descend(label):
    sigmas = SCHEDULES[label](SCHEDULE, 2500, ScheduleOptions())
    assert sigmas.shape == (2501,)
    assert (sigmas.diff() <= 0).all()


@pytest.mark.parametrize("label", [name for name in SCHEDULE_NAMES if name != "DDIM"])
def test_every_schedule_but_ddim_starts_at_sigma_max(label):
    for steps in (1, 2, 20, 1000):
        assert float(SCHEDULES[label](SCHEDULE, steps, ScheduleOptions())[0]) == near(14.6146)


# Numbers as A1111 1.10 and Forge compute them for Stable Diffusion 1.x, 5 steps.
FIVE_STEPS = {
    "Uniform": [14.6146, 4.0861, 1.6156, 0.6951, 0.0292],
    "Karras": [14.6146, 4.7965, 1.2741, 0.2479, 0.0292],
    "Exponential": [14.6146, 3.0890, 0.6529, 0.1380, 0.0292],
    "SGM Uniform": [14.6146, 5.0924, 2.2797, 1.1629, 0.5712],
    "KL Optimal": [14.6146, 2.6329, 1.2948, 0.7116, 0.3356],
    "Align Your Steps": [14.615, 3.2269, 1.396, 0.51006, 0.029],
    "Simple": [14.6146, 5.0878, 2.2765, 1.1606, 0.5693],
    "Normal": [14.6146, 4.0861, 1.6156, 0.6951, 0.0292],
    "DDIM": [5.1344, 2.2929, 1.1682, 0.5741, 0.0413],
    "Beta": [14.6146, 12.0523, 7.3219, 2.5915, 0.0292],
    "Turbo": [14.6146, 5.0878, 2.2765, 1.1606, 0.5693],
}


@pytest.mark.parametrize("label", FIVE_STEPS)
def test_five_steps_are_the_known_sigmas(label):
    assert SCHEDULES[label](SCHEDULE, 5, ScheduleOptions())[:-1].tolist() == near(FIVE_STEPS[label], abs=6e-5)


def test_karras_is_even_in_the_seventh_root():
    roots = karras_sigmas(9, 0.1, 10) ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff().mean())


def test_rho_bends_karras_and_polyexponential():
    for label in ("Karras", "Polyexponential"):
        fact = next(fact for fact in SCHEDULE_FACTS if fact.label == label)
        own = SCHEDULES[label](SCHEDULE, 10, ScheduleOptions())
        assert torch.equal(SCHEDULES[label](SCHEDULE, 10, ScheduleOptions(rho=fact.rho)), own)
        assert not torch.allclose(SCHEDULES[label](SCHEDULE, 10, ScheduleOptions(rho=3.0)), own)


def test_exponential_is_even_in_log_sigma_and_polyexponential_of_rho_1():
    sigmas = SCHEDULES["Exponential"](SCHEDULE, 12, ScheduleOptions())
    assert torch.allclose(sigmas[:-1].log().diff(), sigmas[:-1].log().diff().mean())
    assert torch.equal(sigmas, SCHEDULES["Polyexponential"](SCHEDULE, 12, ScheduleOptions()))


def test_align_your_steps_is_the_published_table_at_eleven_levels():
    sd1 = SCHEDULES["Align Your Steps"](SCHEDULE, 11, ScheduleOptions())
    sdxl = SCHEDULES["Align Your Steps"](SCHEDULE, 11, ScheduleOptions(family="sdxl"))
    assert sd1[1:4].tolist() == pytest.approx([6.475, 3.861, 2.697])
    assert sdxl[1:4].tolist() == pytest.approx([6.315, 3.771, 2.181])


@pytest.mark.parametrize(
    ("steps", "first", "last"), [(20, 951, 1), (50, 981, 1), (4, 751, 1), (1, 1, 1), (1000, 999, 0)]
)
def test_ddim_visits_the_timesteps_of_latent_diffusion(steps, first, last):
    timesteps = [
        SCHEDULE.sigma_to_timestep(s) for s in SCHEDULES["DDIM"](SCHEDULE, steps, ScheduleOptions())[:-1].tolist()
    ]
    assert (timesteps[0], timesteps[-1]) == pytest.approx((first, last), abs=1e-9)
    assert timesteps == pytest.approx([round(t) for t in timesteps], abs=1e-9)


def test_turbo_visits_the_ends_of_equal_parts():
    sigmas = SCHEDULES["Turbo"](SCHEDULE, 4, ScheduleOptions())[:-1].tolist()
    assert [SCHEDULE.sigma_to_timestep(s) for s in sigmas] == pytest.approx([999, 749, 499, 249])


@pytest.mark.parametrize(
    "label", ["Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Normal", "Beta"]
)
def test_sigma_max_can_be_chosen(label):
    assert float(SCHEDULES[label](SCHEDULE, 10, ScheduleOptions(sigma_max=5.0))[0]) == near(5.0)


@pytest.mark.parametrize("label", ["Karras", "Exponential", "Polyexponential", "Normal", "Beta"])
def test_sigma_min_can_be_chosen(label):
    assert float(SCHEDULES[label](SCHEDULE, 10, ScheduleOptions(sigma_min=0.2))[-2]) == near(0.2)


@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.6), (0.1, 3.0), (2.0, 5.0), (1.0, 1.0), (5.0, 0.5)])
def test_beta_quantiles_are_those_of_scipy(alpha, beta):
    shares = torch.linspace(1, 0, 101, dtype=torch.float64)
    wanted = stats.beta.ppf(shares.numpy(), alpha, beta)
    assert beta_quantile(shares, alpha, beta).numpy() == pytest.approx(wanted, abs=1e-12)


# -- what a run makes of them -----------------------------------------------------------------------------------------


def test_discarding_the_penultimate_sigma_keeps_the_number_of_steps():
    whole = SCHEDULES["Karras"](SCHEDULE, 21, ScheduleOptions())
    sigmas = visited_sigmas(SCHEDULE, SCHEDULES["Karras"], 20, discard_penultimate=True)
    assert sigmas.tolist() == [*whole[:-2].tolist(), 0.0]
    assert len(visited_sigmas(SCHEDULE, SCHEDULES["Karras"], 1, discard_penultimate=True)) == 2


def test_a_sampler_that_looks_at_the_ends_alone_gets_the_smallest_sigma():
    sigmas = visited_sigmas(SCHEDULE, SCHEDULES["SGM Uniform"], 20, ends_only=True)
    assert float(sigmas[-2]) == SCHEDULE.sigma_min
    assert len(sigmas) == 21


@pytest.mark.parametrize(
    ("steps", "strength", "run"),
    [(20, 0.75, 16), (20, 1.0, 20), (20, 0.0, 1), (20, 0.5, 11), (1, 0.5, 1), (1, 1.0, 1), (30, 0.999, 30)],
)
def test_a_denoising_strength_runs_the_last_steps(steps, strength, run):
    assert img2img_steps(steps, strength) == (steps, run)


@pytest.mark.parametrize(
    ("steps", "strength", "total"), [(20, 0.5, 40), (20, 0.75, 26), (20, 1.0, 20), (20, 0.0, 1000)]
)
def test_exact_img2img_runs_every_step_it_was_given(steps, strength, total):
    assert img2img_steps(steps, strength, exact=True) == (total, steps)


@given(st.integers(1, 1000), st.floats(0, 1))
def test_img2img_never_runs_more_than_there_is(steps, strength):
    for exact in (False, True):
        total, run = img2img_steps(steps, strength, exact)
        assert 1 <= run <= total
        assert math.isfinite(total)
