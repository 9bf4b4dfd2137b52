"""diffusers' schedulers, given the noise levels and the timesteps that our samplers visit.

Left alone they round the timesteps of Karras et al. to whole ones, and some keep a little noise at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor

from webui.pipeline.sampling import full_sigmas
from webui.pipeline.work import ModelFacts
from webui.schema.requests import Request

SAMPLERS = {"Euler": "Automatic", "DDIM": "Automatic", "DPM++ 2M": "Karras"}
"""Sampler -> schedule."""


class Visits:
    """Sets the noise levels and timesteps of a scheduler to ours, in the place of its own."""

    ours: Tensor
    times: Tensor

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)  # type: ignore[misc]
        assert len(self.times) == steps
        self.sigmas, self.timesteps = self.ours, self.times


class Euler(Visits, EulerDiscreteScheduler):
    """Its sigmas decide how strong the first noise is."""


class DPM(Visits, DPMSolverMultistepScheduler):
    """Starts at our first sigma; its own latents have unit variance there, as if sigma were infinite."""

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)
        self.init_noise_sigma = float(self.ours[0] / (1 + self.ours[0] ** 2) ** 0.5)


class DDIM(DDIMScheduler):
    """Works on whole timesteps, which are those of our schedule of the same name."""

    times: Tensor

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)
        assert torch.allclose(self.times, self.timesteps.float())


def scheduler_of(request: Request, model: ModelFacts, config: Mapping[str, Any]) -> Any:
    """diffusers' scheduler for the sampler of a request. config: the model's own, of its training."""
    sigmas = full_sigmas(request, model, request.steps)
    given = {name: value for name, value in config.items() if name != "_class_name"}
    given["steps_offset"] = 1  # the pipelines warn of any other
    if request.sampler == "Euler":
        made: Any = Euler(**given)
    elif request.sampler == "DDIM":
        leading = {"timestep_spacing": "leading", "set_alpha_to_one": True, "clip_sample": False}
        made = DDIM(**given, **leading)
    else:
        made = DPM(**given, algorithm_type="dpmsolver++", solver_order=2)
    schedule = model.schedule
    made.ours = sigmas.float()
    made.times = torch.tensor([schedule.sigma_to_timestep(float(sigma)) for sigma in sigmas[:-1]])
    return made
