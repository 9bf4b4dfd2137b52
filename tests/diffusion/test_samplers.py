"""What every sampler promises, whatever the network."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.diffusion.small import (
    SCHEDULE,
    ZERO_SNR,
    RandomNetwork,
    constant_noise,
    guided,
    interval_noise,
    relative_error,
    start,
)
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.samplers.dpm import fast_orders
from webui.diffusion.samplers.euler import restart_intervals
from webui.diffusion.schedules import SCHEDULES, karras_sigmas, visited_sigmas
from webui.diffusion.types import Answer, Churn, Eval, Steps, drive
from webui.schema.errors import NumericError
from webui.schema.names import SAMPLER_NAMES, resolve_schedule

DENOISE = guided(RandomNetwork(0), RandomNetwork(1))


def sigmas_of(label: str, steps: int, model=SCHEDULE) -> list[float]:
    info = SAMPLERS[label]
    return visited_sigmas(
        model,
        SCHEDULES[resolve_schedule(label, "Automatic")],
        steps,
        discard_penultimate=info.discard_penultimate,
        ends_only=info.ends_only,
    ).tolist()


def noise_of(label: str, x: Tensor, seed: int = 1):
    source = NoiseSource(seed)
    return source.brownian(x) if SAMPLERS[label].noise == "brownian" else source.draws(x)


def run(label: str, sigmas: list[float], denoise=DENOISE, **options) -> Tensor:
    info = SAMPLERS[label]
    x = info.initial_x(start(), sigmas[0])
    return drive(info.run(x, sigmas, noise_of(label, x), **options), denoise)


def evals_of(label: str, sigmas: list[float], denoise=DENOISE, **options) -> list[Eval]:
    """What the sampler asks for, in order."""
    info = SAMPLERS[label]
    x = info.initial_x(start(), sigmas[0])
    asked: list[Eval] = []

    def observed(steps: Steps) -> Steps:
        wish = next(steps)
        while True:
            asked.append(wish)
            sent = yield wish
            try:
                wish = steps.send(sent)
            except StopIteration as end:
                return end.value

    drive(observed(info.run(x, sigmas, noise_of(label, x), **options)), denoise)
    return asked


def test_the_table_has_every_named_sampler_and_no_other():
    assert tuple(SAMPLERS) == SAMPLER_NAMES
    assert all(label == info.label for label, info in SAMPLERS.items())


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_every_sampler_works_at_1_2_and_20_steps(label, steps):
    latent = run(label, sigmas_of(label, steps))
    assert latent.shape == start().shape
    assert latent.dtype == torch.float64
    assert torch.isfinite(latent).all()


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_every_sampler_works_from_zero_terminal_snr(label):
    assert torch.isfinite(run(label, sigmas_of(label, 20, ZERO_SNR))).all()


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_a_float32_latent_stays_one_and_ends_near_the_float64_one(label):
    info, sigmas = SAMPLERS[label], sigmas_of(label, 10)
    x = info.initial_x(start(), sigmas[0])

    def final(x: Tensor) -> Tensor:
        return drive(info.run(x, sigmas, noise_of(label, x)), lambda x, sigma: Answer(*in_double(x, sigma)))

    def in_double(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        answer = DENOISE(x.double(), sigma)
        return answer.denoised.to(x), answer.uncond.to(x)

    assert final(x.float()).dtype == torch.float32
    assert relative_error(final(x.float()), final(x)) < 1e-3


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_one_step_is_the_first_answer(label):
    sigmas = sigmas_of(label, 1)
    x = SAMPLERS[label].initial_x(start(), sigmas[0])
    assert relative_error(run(label, sigmas, one_network(label)), RandomNetwork(0)(x, sigmas[0])) < 1e-12


def one_network(label: str):
    """One network for cond and uncond."""
    network = RandomNetwork(0)
    return lambda x, sigma: Answer(network(x, sigma), network(x, sigma))


@pytest.mark.parametrize("label", [name for name in SAMPLER_NAMES if not SAMPLERS[name].ends_only])
def test_steps_are_counted_from_0_up_without_gaps(label):
    asked = [wish.step for wish in evals_of(label, sigmas_of(label, 20))]
    assert asked[0] == 0
    assert asked[-1] == 19
    assert {later - earlier for earlier, later in pairwise(asked)} <= {0, 1}


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_the_table_knows_the_model_calls_per_step(label):
    evals = evals_of(label, sigmas_of(label, 20))
    steps = evals[-1].step + 1
    calls = SAMPLERS[label].evals_per_step
    assert steps * calls - 3 <= len(evals) <= steps * calls + 1


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_the_model_is_asked_only_within_the_given_sigmas(label):
    sigmas = sigmas_of(label, 20)
    for wish in evals_of(label, sigmas):
        assert sigmas[-2] * (1 - 1e-9) <= wish.sigma <= sigmas[0] * (1 + 1e-9)
        assert isinstance(wish.sigma, float)


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_recorded_answers_replay_without_the_model(label):
    log = []

    def recording(x, sigma):
        log.append(DENOISE(x, sigma))
        return log[-1]

    sigmas = sigmas_of(label, 20)
    latent = run(label, sigmas, recording)
    answers = iter(log)
    assert torch.equal(run(label, sigmas, lambda x, sigma: next(answers)), latent)


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_stochastic_is_said_of_the_samplers_whose_picture_depends_on_fresh_noise(label):
    sigmas = sigmas_of(label, 20)
    x = SAMPLERS[label].initial_x(start(), sigmas[0])
    one, other = (drive(SAMPLERS[label].run(x, sigmas, noise_of(label, x, seed)), DENOISE) for seed in (1, 2))
    assert torch.equal(one, other) != SAMPLERS[label].stochastic


@pytest.mark.parametrize("label", [name for name in SAMPLER_NAMES if "eta" in SAMPLERS[name].options])
def test_eta_0_draws_no_noise(label):
    sigmas = sigmas_of(label, 20)

    def no_noise(sigma_from, sigma_to):
        raise AssertionError("drew noise")

    x = SAMPLERS[label].initial_x(start(), sigmas[0])
    drive(SAMPLERS[label].run(x, sigmas, no_noise, eta=0.0), DENOISE)


@pytest.mark.parametrize("label", [name for name in SAMPLER_NAMES if "s_churn" in SAMPLERS[name].options])
def test_churn_0_draws_no_noise_and_churn_changes_the_picture(label):
    sigmas = sigmas_of(label, 20)
    assert torch.equal(run(label, sigmas, s_churn=0.0), run(label, sigmas))
    assert not torch.equal(run(label, sigmas, s_churn=10.0), run(label, sigmas))
    assert torch.equal(run(label, sigmas, s_churn=10.0, s_tmin=20.0), run(label, sigmas))


def test_churn_adds_just_the_noise_that_leads_to_sigma_hat():
    x, sigma_hat = Churn(s_churn=2.0, s_noise=1.5).apply(torch.zeros(4, 4, 5).double(), 3.0, 10, constant_noise)
    assert sigma_hat == pytest.approx(3.0 * 1.2)
    assert relative_error(x, constant_noise(0, 0) * 1.5 * (3.6**2 - 3**2) ** 0.5) < 1e-12


def test_churn_grows_a_sigma_by_at_most_the_root_of_2():
    _, sigma_hat = Churn(s_churn=100.0).apply(start(), 3.0, 10, constant_noise)
    assert sigma_hat == pytest.approx(3.0 * 2**0.5)


def test_an_option_of_another_sampler_is_refused_by_name():
    with pytest.raises(TypeError, match="LMS takes no eta"):
        SAMPLERS["LMS"].run(start(), [1.0, 0.0], constant_noise, eta=0.5)


def test_an_option_left_empty_keeps_its_default():
    sigmas = sigmas_of("Euler a", 5)
    assert torch.equal(run("Euler a", sigmas, eta=None), run("Euler a", sigmas))


def test_cfgpp_says_what_it_lacks():
    with pytest.raises(ValueError, match="uncond"):
        run("Euler CFG++", [2.0, 1.0, 0.0], lambda x, sigma: Answer(x))


# -- order ------------------------------------------------------------------------------------------------------------


def gaussian(x: Tensor, sigma: float) -> Answer:
    """The exact denoiser where the data is N(0, 1)."""
    return Answer(x / (1 + sigma**2), x / (1 + sigma**2))


def gaussian_error(label: str, steps: int) -> float:
    """Against the exact solution x0 sqrt((1 + sigma^2) / (1 + sigma0^2)) from sigma 10 to 0.1, by Karras."""
    info, x = SAMPLERS[label], 10 * start()
    sigmas = karras_sigmas(steps + 1, 0.1, 10).tolist()
    if info.ends_only:  # they stop at the last sigma above 0 by themselves, and count model calls
        sigmas = [*karras_sigmas(steps, 0.1, 10).tolist(), 0.0]
    options = {"eta": 0.0} if "eta" in info.options else {}
    got = drive(info.run(x, sigmas, interval_noise, **options), gaussian)
    return relative_error(got, x * ((1 + 0.1**2) / (1 + 10**2)) ** 0.5)


ORDERS = {
    "Euler": 1, "Euler a": 1, "DDIM": 1, "DDIM CFG++": 1, "Euler CFG++": 1, "HeunPP2": 1,
    "Heun": 2, "DPM2": 2, "DPM2 a": 2, "DPM++ 2S a": 2, "DPM++ SDE": 2,
    "DPM++ 2M": 2, "DPM++ 2M SDE": 2, "DPM++ 2M SDE Heun": 2, "DPM++ 3M SDE": 2, "UniPC": 2,
    "PLMS": 2, "IPNDM": 2, "IPNDM_V": 2, "DEIS": 3, "LMS": 3, "DPM fast": 3,
}  # fmt: skip
"""Of the whole run: multistep methods begin with a step of order 1; weights of equal steps are of order 2 elsewhere."""


@pytest.mark.parametrize("label", ORDERS)
def test_the_order_of_every_ode_sampler_shows_at_20_40_and_80_steps(label):
    errors = [gaussian_error(label, steps) for steps in (20, 40, 80)]
    assert errors[0] > errors[1] > errors[2] or label == "IPNDM_V"
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(ORDERS[label], abs=0.5)


@pytest.mark.parametrize(("label", "bound"), [("Euler", 0.04), ("Heun", 0.003), ("DPM++ 2M", 0.003), ("UniPC", 0.003)])
def test_40_steps_to_the_end_land_near_the_exact_answer(label, bound):
    sigmas = [*karras_sigmas(40, 0.03, 14.6).tolist(), 0.0]
    got = drive(SAMPLERS[label].run(14.6 * start(), sigmas, constant_noise), gaussian)
    assert relative_error(got, 14.6 * start() / (1 + 14.6**2) ** 0.5) < bound


@pytest.mark.parametrize("label", [name for name in SAMPLER_NAMES if SAMPLERS[name].stochastic and name != "LCM"])
def test_stochastic_samplers_keep_the_spread_of_gaussian_data(label):
    sigmas = [*karras_sigmas(100, 0.03, 14.6).tolist(), 0.0]
    x = torch.randn((4, 40, 40), dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 14.6
    got = drive(SAMPLERS[label].run(x, sigmas, noise_of(label, x)), gaussian)
    assert float(got.std()) == pytest.approx(1.0, abs=0.06)
    assert float(got.mean()) == pytest.approx(0.0, abs=0.05)


# -- single samplers --------------------------------------------------------------------------------------------------


def test_dpm_adaptive_tells_its_progress_in_log_sigma():
    asked = evals_of("DPM adaptive", sigmas_of("DPM adaptive", 20))
    progress = [wish.progress for wish in asked]
    assert progress[0] == 0
    assert progress == sorted(progress)
    assert 0.8 < progress[-1] < 1
    first_of_step = {wish.step: wish for wish in reversed(asked)}
    for wish in first_of_step.values():
        assert wish.progress == pytest.approx(math.log(14.6146 / wish.sigma) / math.log(14.6146 / 0.0292), abs=1e-3)


def test_dpm_adaptive_does_not_depend_on_the_number_of_steps():
    assert torch.equal(
        run("DPM adaptive", sigmas_of("DPM adaptive", 10)), run("DPM adaptive", sigmas_of("DPM adaptive", 50))
    )


def test_dpm_adaptive_gives_up_on_nan():
    with pytest.raises(NumericError, match="not numbers"):
        run("DPM adaptive", sigmas_of("DPM adaptive", 20), lambda x, sigma: Answer(x * math.nan))


@pytest.mark.parametrize(
    ("evals", "orders"), [(1, [1]), (2, [2]), (3, [2, 1]), (6, [3, 2, 1]), (7, [3, 3, 1]), (20, [3, 3, 3, 3, 3, 3, 2])]
)
def test_dpm_fast_spends_one_model_call_per_step(evals, orders):
    assert fast_orders(evals) == orders
    assert sum(orders) == evals


@pytest.mark.parametrize("steps", [1, 19, 20, 35, 36, 50, 100])
def test_restart_has_as_many_solver_steps_as_asked(steps):
    assert len(restart_intervals([*karras_sigmas(steps, 0.03, 14.6).tolist(), 0.0])) == steps


@pytest.mark.parametrize(("steps", "restarts"), [(19, 0), (20, 1), (35, 1), (36, 2)])
def test_restart_goes_back_up_from_about_0_1_to_about_2(steps, restarts):
    intervals = restart_intervals([*karras_sigmas(steps, 0.03, 14.6).tolist(), 0.0])
    ups = [(before[1], after[0]) for before, after in pairwise(intervals) if after[0] != before[1]]
    assert len(ups) == restarts
    for low, high in ups:
        assert 0.05 < low < 0.2
        assert 1.3 < high < 3


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.08), (1.0, 14.6)])
def test_restart_keeps_its_steps_where_there_is_nothing_to_repeat(low, high):
    sigmas = [*karras_sigmas(25, low, high).tolist(), 0.0]
    assert restart_intervals(sigmas) == list(pairwise(sigmas))


@pytest.mark.parametrize("label", ["Heun", "UniPC", "DPM++ 2S a", "Euler"])
def test_what_a_hook_does_to_x_is_not_lost(label):
    """A driver may send back another x: the sampler goes on from there."""
    sigmas = sigmas_of(label, 6)
    info = SAMPLERS[label]
    x = info.initial_x(start(), sigmas[0])

    def final(shift: float) -> Tensor:
        def moved(steps: Steps) -> Steps:
            wish = next(steps)
            while True:
                x, answer = yield wish
                try:
                    wish = steps.send((x + shift if wish.step == 3 else x, answer))
                except StopIteration as end:
                    return end.value

        return drive(moved(info.run(x, sigmas[:-1], constant_noise)), lambda x, sigma: torch.zeros_like(x))

    assert not torch.allclose(final(0.5), final(0.0))
