"""The words of one sampling pass: which texts hold at which solver step, and what they are encoded to."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any

from webui.diffusion.schedules import img2img_steps
from webui.diffusion.types import Eval
from webui.networks.strengths import read_strengths
from webui.pipeline.work import EncodeText, Networks, Texts, Work
from webui.prompt.grammar import Prompt, read_prompt
from webui.prompt.schedule import Clock
from webui.schema.requests import Request, Txt2Img
from webui.schema.resolve import hires_request


@dataclass(frozen=True)
class PassTexts:
    """The encoded texts of a pass. order: for each solver step, which of them holds; empty: the only one.

    networks: those of its first step; by_step: whether their strengths change from step to step.
    """

    texts: tuple[Texts, ...]
    order: tuple[int, ...] = ()
    networks: Networks | None = None
    by_step: bool = False

    def networks_at(self, point: Eval) -> Networks | None:
        """The networks that stand on the model at a point."""
        if not self.by_step or self.networks is None:
            return self.networks
        return replace(self.networks, step=_step(point, self.networks.clock.steps))

    def index(self, point: Eval) -> int:
        """Which texts hold at a point. The further evaluations of a step have those of the step; an adaptive sampler,
        whose steps nobody knows beforehand, those of its share of the way."""
        if not self.order:
            return 0
        return self.order[_step(point, len(self.order))]


def _step(point: Eval, steps: int) -> int:
    step = point.step if point.progress is None else int(point.progress * steps)
    return max(min(step, steps - 1), 0)


NO_NETWORKS = Networks((), Clock(0), Clock(0))


def encoded_texts(
    request: Request, width: int, height: int, part: int = 0, networks: Networks | None = None
) -> Generator[Work, Any, PassTexts]:
    """Have all texts of a pass encoded before it begins, each once. width, height: of the picture that is drawn;
    networks: in the place of those of the prompt."""
    wishes, order = wanted_texts(request, width, height, clock_of(request, part))
    networks = networks_of(request, part) if networks is None else networks
    found: list[Texts] = []
    for wish in wishes:
        found.append((yield replace(wish, networks=networks)))
    by_step = any(read_strengths(tag).unet.changes for tag in networks.tags)
    return PassTexts(tuple(found), order, networks, by_step)


def networks_of(request: Request, part: int = 0) -> Networks:
    """The networks that the prompt of a request asks for, at the first step of a pass."""
    tags = prompts_of(request)[0].tags
    return Networks(tags, clock_of(request, part), clock_of(request)) if tags else NO_NETWORKS


def wanted_texts(
    request: Request, width: int, height: int, clock: Clock
) -> tuple[tuple[EncodeText, ...], tuple[int, ...]]:
    """The distinct texts of a pass, and which of them holds at each step; no order where they never change."""
    prompt, negative = prompts_of(request)

    def at(step: int) -> EncodeText:
        (negative_text, _), *_none = negative.at(step, clock)
        return EncodeText(prompt.at(step, clock), negative_text, request.clip_skip, width, height, request.emphasis)

    if not prompt.changes and not negative.changes:
        return (at(0),), ()
    wishes = [at(step) for step in range(max(clock.steps, 1))]
    distinct = {wish: index for index, wish in enumerate(dict.fromkeys(wishes))}
    return tuple(distinct), tuple(distinct[wish] for wish in wishes)


def prompts_of(request: Request) -> tuple[Prompt, Prompt]:
    """Prompt and negative prompt of a request, read."""
    return read_prompt(request.prompt), read_prompt(request.negative_prompt, negative=True)


def clock_of(request: Request, part: int = 0) -> Clock:
    """The steps of a pass of a request. part: 0, and 1 for the hires pass."""
    if not isinstance(request, Txt2Img):
        return Clock(img2img_steps(request.steps, request.denoising_strength)[1])
    if part == 0:
        return Clock(request.steps)
    steps = img2img_steps(request.hr_steps or request.steps, request.denoising_strength)[1]
    return Clock(steps, before=request.steps, part=part)


def prompt_notes(request: Request) -> tuple[str, ...]:
    """What the writer of a request's prompts may not have meant."""
    steps, prompts = clock_of(request).steps, prompts_of(request)
    if not isinstance(request, Txt2Img) or not request.enable_hr or request.denoising_strength == 0:
        return _distinct(note for prompt in prompts for note in (*prompt.notes, *prompt.unreached(steps)))
    notes, hires, written = list[str](), clock_of(request, 1), (request.hr_prompt, request.hr_negative_prompt)
    for prompt, own, is_own in zip(prompts, prompts_of(hires_request(request)), written, strict=True):
        notes += (*prompt.notes, *prompt.unreached(steps, 0 if is_own else hires.steps))
        if is_own:
            notes += (*own.notes, *own.unreached(steps, hires.steps), *own.over(hires))
        if prompt.tags and not own.tags:
            notes.append("The hires prompt names no networks: those of the prompt have no part in the hires pass.")
    return _distinct(notes)


def _distinct(notes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))
