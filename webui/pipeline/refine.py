"""A refiner: a checkpoint that takes the last part of a pass over from the one that began it.

Podell et al. 2023 (arXiv:2307.01952), section 2.5: SDXL's refiner knows the least noisy fifth of the timesteps alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from webui.diffusion.types import Noise, SamplerInfo, Steps
from webui.pipeline.texts import NO_NETWORKS, PassTexts, encoded_texts, networks_of
from webui.pipeline.work import ModelFacts, UseModel, Work
from webui.schema.requests import Request
from webui.schema.resolve import refined_part, refiner_model, same_latents_to_refine


def switch_step(request: Request, model: ModelFacts, sigmas: Tensor, part: int) -> int:
    """How many of the steps of a pass are run before the refiner takes over; all of them where there is none.

    The share is one of the model's timesteps, as diffusers' `denoising_end` and A1111's "Refiner switch at" are: at 0.8
    the refiner has the steps that begin below timestep 200 of 1000. sigmas: (steps + 1,), descending.
    """
    steps = len(sigmas) - 1
    if part != refined_part(request) or not refiner_model(request):
        return steps
    schedule = model.schedule
    last = round(schedule.steps * (1 - request.refiner_switch_at))
    return sum(round(schedule.sigma_to_timestep(sigma)) >= last for sigma in sigmas[:-1].tolist())


def take_over(request: Request, first: ModelFacts, size: tuple[int, int], part: int) -> Generator[Work, Any, PassTexts]:
    """The refiner draws from now on: the texts of the pass as it reads them. size: (width, height) in pixels.

    The networks of the prompt go with it where it is of the same family; files for another one would not fit.

    Raises:
        BadRequest: a latent means something else to it.
    """
    refiner: ModelFacts = yield UseModel(refiner_model(request))
    if refiner.config.vae.latent_space != first.config.vae.latent_space:
        raise same_latents_to_refine(request)
    same = refiner.config.family == first.config.family
    networks = networks_of(request, part) if same else NO_NETWORKS
    return (yield from encoded_texts(request, *size, part, networks))


@dataclass(frozen=True)
class Run:
    """A sampler and all it needs but the latent. sigmas: (steps + 1,) of the whole pass, descending; noise: goes on
    where the part before has left it."""

    info: SamplerInfo
    sigmas: Sequence[float]
    noise: Noise
    options: dict[str, Any]

    def part(self, x: Tensor, begin: int, end: int) -> Steps:
        """Sample x (c h w) from the noise level `begin` to `end` of the sigmas; points tell their place in the whole.

        A sampler of many steps begins anew: what it remembers are answers of the other model.
        """
        steps = len(self.sigmas) - 1
        sampler = self.info.run(x, self._visited(begin, end), self.noise, **self.options)
        try:
            point = next(sampler)
            while True:
                share = None if point.progress is None else (begin + point.progress * (end - begin)) / steps
                point = sampler.send((yield replace(point, step=begin + point.step, progress=share)))
        except StopIteration as stopped:
            return stopped.value
        finally:
            sampler.close()

    def _visited(self, begin: int, end: int) -> list[float]:
        """Samplers that look at the ends alone stop at the last but one, so that it has to be the last of the part."""
        found = list(self.sigmas[begin : end + 1])
        if self.info.ends_only and found[-1] > 0:
            return [*found[: max(len(found) - 2, 1)], found[-1], 0.0]
        return found
