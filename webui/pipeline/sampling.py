"""One sampling pass: sigmas, start, sampler and guidance of a request, and the mask of an inpainting."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from torch import Tensor

from webui.diffusion.denoiser import Guidance, q_sample
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import SCHEDULES, ScheduleOptions, img2img_steps, visited_sigmas
from webui.diffusion.types import Answer, SamplerInfo
from webui.pipeline.work import Denoise, ModelFacts, NothingYet, StopSampling, Texts
from webui.schema.names import resolve_schedule
from webui.schema.requests import Request


@dataclass(frozen=True)
class Keep:
    """Where the first latent is kept. init: (c h w); repaint: (1 h w), 1 where the model draws, 0 where init stays."""

    init: Tensor
    repaint: Tensor

    def blend(self, latent: Tensor) -> Tensor:
        """latent where the model draws, init elsewhere: (c h w)."""
        repaint = self.repaint.to(latent)
        return latent * repaint + self.init.to(latent) * (1 - repaint)


@dataclass(frozen=True)
class Place:
    """Which pass of the picture this is, for its progress."""

    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Redo:
    """How a latent is drawn again: strength 0..1, steps of the whole schedule, and what is kept."""

    strength: float
    steps: int
    keep: Keep | None = None
    place: Place = Place()


def full_sigmas(request: Request, model: ModelFacts, steps: int) -> Tensor:
    """The noise levels that the request's sampler gets for a whole run: (steps + 1,), descending to 0."""
    info = SAMPLERS[request.sampler]
    return visited_sigmas(
        model.schedule,
        SCHEDULES[resolve_schedule(request.sampler, request.scheduler)],
        steps,
        ScheduleOptions(family=model.config.family),
        discard_penultimate=info.discard_penultimate,
        ends_only=info.ends_only,
    )


def from_noise(
    request: Request, model: ModelFacts, source: NoiseSource, texts: Texts, shape: tuple[int, int, int], parts: int
) -> Generator[Denoise, tuple[Tensor, Answer], Tensor]:
    """Draw a latent (c h w) from pure noise."""
    sigmas = full_sigmas(request, model, request.steps)
    start = SAMPLERS[request.sampler].initial_x(source.initial(shape).to(model.device), float(sigmas[0]))
    return (yield from run(request, source, texts, start, sigmas, Place(0, parts)))


def from_latent(
    request: Request, model: ModelFacts, source: NoiseSource, texts: Texts, init: Tensor, redo: Redo
) -> Generator[Denoise, tuple[Tensor, Answer], Tensor]:
    """Add noise to a latent (c h w) for the given strength and take it away again; strength 0 gives it back."""
    if redo.strength <= 0:
        return init
    steps, executed = img2img_steps(redo.steps, redo.strength)
    sigmas = full_sigmas(request, model, steps)[-executed - 1 :]
    start = q_sample(init, float(sigmas[0]), source.initial(init.shape).to(init))
    return (yield from run(request, source, texts, start, sigmas, redo.place, redo.keep, init))


def run(
    request: Request,
    source: NoiseSource,
    texts: Texts,
    start: Tensor,
    sigmas: Tensor,
    place: Place,
    keep: Keep | None = None,
    latest: Tensor | None = None,
) -> Generator[Denoise, tuple[Tensor, Answer], Tensor]:
    """Run the request's sampler from `start` (c h w) through sigmas (n+1,) to the final latent (c h w).

    latest: what to show when the pass is stopped before its first answer.

    Raises:
        NothingYet: when it is stopped before there is anything to show.
    """
    info = SAMPLERS[request.sampler]
    noise = source.brownian(start) if info.noise == "brownian" else source.draws(start)
    options = {name: getattr(request, name) for name in info.options}
    sampler = info.run(start, sigmas.tolist(), noise, **options)
    guidance = guidance_of(request, info, texts)
    try:
        wish = next(sampler)
        while True:
            x, answer = yield Denoise(wish, guidance, len(sigmas) - 1, place.part, place.parts)
            answer = blended(answer, keep)
            latest = answer.denoised
            wish = sampler.send((x, answer))
    except StopIteration as end:
        final: Tensor = end.value
        return keep.blend(final) if keep else final
    except StopSampling:
        if latest is None:
            raise NothingYet from None
        return latest
    finally:
        sampler.close()


def guidance_of(request: Request, info: SamplerInfo, texts: Texts) -> Guidance:
    """How this request is guided."""
    return Guidance(
        conds=((texts.cond, 1.0),),
        uncond=texts.uncond,
        cfg_scale=request.cfg_scale * info.cfg_multiplier,
        rescale=request.cfg_rescale,
        keep_uncond=info.needs_uncond,
    )


def blended(answer: Answer, keep: Keep | None) -> Answer:
    """The answer with the kept part put back: the sampler is led to the init there."""
    if keep is None:
        return answer
    return Answer(keep.blend(answer.denoised), None if answer.uncond is None else keep.blend(answer.uncond))
