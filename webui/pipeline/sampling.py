"""One sampling pass: sigmas, start, sampler and guidance of a request, and the mask of an inpainting."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from webui.diffusion.denoiser import Guidance, q_sample
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import SCHEDULES, ScheduleOptions, img2img_steps, visited_sigmas
from webui.diffusion.types import Answer, Eval, SamplerInfo, Steps
from webui.ext.passes import PassInfo, PassKind, Start
from webui.ext.scope import Scope
from webui.pipeline.guide import Guide
from webui.pipeline.refine import Run, switch_step, take_over
from webui.pipeline.texts import PassTexts
from webui.pipeline.work import Denoise, EndSampling, ModelFacts, NothingYet, OpenPass, StopSampling, Texts, Work
from webui.schema.names import resolve_schedule
from webui.schema.requests import Img2Img, Request, Txt2Img

NO_EVAL = Eval(torch.zeros(0), 0.0, 0)


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
    """Which pass of the picture this is. size: (width, height) drawn, in pixels; crop: see `PassInfo`."""

    part: int = 0
    parts: int = 1
    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None


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
    request: Request, model: ModelFacts, source: NoiseSource, texts: PassTexts, shape: tuple[int, int, int], parts: int
) -> Generator[Work, Any, Tensor]:
    """Draw a latent (c h w) from pure noise."""
    sigmas = full_sigmas(request, model, request.steps)
    start = Start(source.initial(shape).to(model.device))
    return (yield from run(request, model, source, texts, start, sigmas, Place(0, parts)))


def from_latent(
    request: Request, model: ModelFacts, source: NoiseSource, texts: PassTexts, init: Tensor, redo: Redo
) -> Generator[Work, Any, Tensor]:
    """Add noise to a latent (c h w) for the given strength and take it away again; strength 0 gives it back."""
    if redo.strength <= 0:
        return init
    steps, executed = img2img_steps(redo.steps, redo.strength)
    sigmas = full_sigmas(request, model, steps)[-executed - 1 :]
    start = Start(source.initial(init.shape).to(init), init)
    return (yield from run(request, model, source, texts, start, sigmas, redo.place, redo.keep))


def run(
    request: Request,
    model: ModelFacts,
    source: NoiseSource,
    texts: PassTexts,
    start: Start,
    sigmas: Tensor,
    place: Place,
    keep: Keep | None = None,
) -> Generator[Work, Any, Tensor]:
    """Run the request's sampler through sigmas (n+1,) to the final latent (c h w), inside the scope of its pass.

    Raises:
        NothingYet: when it is stopped before there is anything to show.
    """
    info, steps = SAMPLERS[request.sampler], len(sigmas) - 1
    switch = switch_step(request, model, sigmas, place.part)
    guidances, guidance = guidances_of(request, info, texts)
    scope: Scope | None = None
    if model.picture is not None:
        scope = yield OpenPass(pass_info(request, model, start, sigmas, place), start, guidance)
    if scope is not None:
        start, guidance = scope.start, scope.guidance
    x = first_x(info, start, float(sigmas[0]))
    noise = source.brownian(x) if info.noise == "brownian" else source.draws(x)
    options = {name: getattr(request, name) for name in info.options}
    sampler = Run(info, sigmas.tolist(), noise, options)
    wish = Denoise(NO_EVAL, guidance, steps, place.part, place.parts, scope)
    found = Sampled(x, start.latent)
    if switch:
        first = sampler.part(x, 0, switch)
        found = yield from answered(first, wish, keep, found.latest, Guide(texts, guidances, scope))
    refining = switch < steps and not found.stopped
    latent = found.latent if refining else found.kept(keep)
    if scope is not None:
        latent = yield EndSampling(scope, latent, not refining)
    if not refining:
        return latent
    texts = yield from take_over(request, model, drawn_size(request, model, start, place), place.part)
    guidances, guidance = guidances_of(request, info, texts)
    wish = replace(wish, guidance=guidance, scope=None)
    rest = sampler.part(latent, switch, steps)
    found = yield from answered(rest, wish, keep, found.latest, Guide(texts, guidances, None))
    return found.kept(keep)


@dataclass(frozen=True)
class Sampled:
    """What a run came to. latent: (c h w); latest: the last prediction, None before the first; stopped: before the end,
    so that the latent is the latest."""

    latent: Tensor
    latest: Tensor | None
    stopped: bool = False

    def kept(self, keep: Keep | None) -> Tensor:
        """The latent (c h w) with what is kept put back."""
        return self.latent if keep is None or self.stopped else keep.blend(self.latent)


def answered(
    sampler: Steps, wish: Denoise, keep: Keep | None, latest: Tensor | None, guide: Guide
) -> Generator[Work, Any, Sampled]:
    """Let the model answer a sampler to its end.

    wish: what each evaluation is sent with. latest: what to show when the pass is stopped before its first answer.
    guide: knows the guidance of each point where the prompt changes over the steps.
    """
    try:
        point = next(sampler)
        while True:
            guidance, networks = guide.at(point, wish.guidance), guide.networks_at(point)
            x, answer = yield replace(wish, eval=point, guidance=guidance, networks=networks)
            answer = blended(answer, keep)
            latest = answer.denoised
            if wish.scope is not None and wish.scope.stopped:
                return Sampled(latest, latest, stopped=True)
            point = sampler.send((x, answer))
    except StopIteration as end:
        return Sampled(end.value, latest)
    except StopSampling:
        if latest is None:
            raise NothingYet from None
        return Sampled(latest, latest, stopped=True)
    finally:
        sampler.close()


def first_x(info: SamplerInfo, start: Start, sigma: float) -> Tensor:
    """The noisy latent (c h w) that the sampler starts from, at its first sigma."""
    if start.latent is None:
        return info.initial_x(start.noise, sigma)
    return q_sample(start.latent, sigma, start.noise)


def pass_info(request: Request, model: ModelFacts, start: Start, sigmas: Tensor, place: Place) -> PassInfo:
    """What extensions are told of a pass. A size that the request leaves open is that of the latent."""
    channels, h, w = start.noise.shape
    width, height = drawn_size(request, model, start, place)
    kind: PassKind = "hires" if place.part else "base" if isinstance(request, Txt2Img) else request.kind
    return PassInfo(
        kind, place.part, model.picture or 0, width, height, (channels, h, w), len(sigmas) - 1,
        tuple(sigmas.tolist()), place.crop, request.prompt, request.negative_prompt,
    )  # fmt: skip


def drawn_size(request: Request, model: ModelFacts, start: Start, place: Place) -> tuple[int, int]:
    """(width, height) of what a pass draws, in pixels."""
    _, h, w = start.noise.shape
    return place.size or (request.width or w * model.multiple, request.height or h * model.multiple)


def guidances_of(request: Request, info: SamplerInfo, texts: PassTexts) -> tuple[list[Guidance], Guidance]:
    """The guidance of each of the texts, and that of the first step."""
    guidances = [guidance_of(request, info, one) for one in texts.texts]
    return guidances, guidances[texts.order[0] if texts.order else 0]


def guidance_of(request: Request, info: SamplerInfo, texts: Texts) -> Guidance:
    """How this request is guided while these texts hold."""
    return Guidance(
        conds=texts.conds,
        uncond=texts.uncond,
        cfg_scale=request.cfg_scale * info.cfg_multiplier,
        rescale=request.cfg_rescale,
        keep_uncond=info.needs_uncond,
        bare=texts.bare,
        image_scale=request.image_cfg_scale if isinstance(request, Img2Img) else 1.0,
    )


def blended(answer: Answer, keep: Keep | None) -> Answer:
    """The answer with the kept part put back: the sampler is led to the init there."""
    if keep is None:
        return answer
    return Answer(keep.blend(answer.denoised), None if answer.uncond is None else keep.blend(answer.uncond))
