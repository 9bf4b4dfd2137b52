"""Where a refiner takes over, and what its sampler is given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from webui.diffusion.samplers.euler import restart_intervals
from webui.diffusion.schedules import NoiseSchedule, karras
from webui.nn.config import SDXL
from webui.pipeline.refine import switch_step
from webui.pipeline.sampling import full_sigmas
from webui.pipeline.work import ModelFacts
from webui.schema.requests import Txt2Img

FACTS = ModelFacts(SDXL, NoiseSchedule(SDXL.schedule))


def switched(part: int = 0, **fields: Any) -> int:
    request = Txt2Img(**{"model": "base", "refiner": "fine", "steps": 10, "sampler": "Euler", **fields})
    return switch_step(request, FACTS, full_sigmas(request, FACTS, request.steps), part)


@pytest.mark.parametrize(("at", "steps"), [(1.0, 10), (0.9, 9), (0.8, 8), (0.5, 5), (0.01, 1)])
def test_the_share_is_one_of_the_timesteps(at: float, steps: int) -> None:
    assert switched(refiner_switch_at=at) == steps  # 999, 888, ... 111, 0


def test_the_spacing_of_karras_comes_to_low_noise_sooner() -> None:
    times = [FACTS.schedule.sigma_to_timestep(float(sigma)) for sigma in karras(FACTS.schedule, 10)[:-1]]
    assert switched(scheduler="Karras") == sum(time > 199.5 for time in times) < 8


def test_a_timestep_on_the_border_is_the_refiners_from_below_only() -> None:
    request = Txt2Img(model="base", refiner="fine", refiner_switch_at=0.8)
    sigmas = torch.cat([FACTS.schedule.sigmas[[300, 200, 199]], torch.zeros(1)])
    assert switch_step(request, FACTS, sigmas, 0) == 2


def test_only_the_last_pass_that_samples_is_refined() -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5}
    assert (switched(0, **hires), switched(1, **hires)) == (10, 8)
    still = {**hires, "denoising_strength": 0.0}
    assert switched(0, **still) == 8
    assert switched(0, refiner="") == switched(0, refiner="base") == 10
    assert switched(1, **hires, hr_model="fine") == 10


def test_restart_goes_nowhere_in_a_run_that_leaves_noise() -> None:
    sigmas = karras(FACTS.schedule, 40).tolist()
    assert restart_intervals(sigmas[:31]) == list(pairwise(sigmas[:31]))
