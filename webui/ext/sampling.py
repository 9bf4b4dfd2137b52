"""Answers samplers whose pictures have scopes: hooks in their order, residuals joined, as few U-Net calls as can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Protocol

import torch
from torch import Tensor

from webui.control.together import answer_together
from webui.diffusion.denoiser import Guidance, Prediction, combine, stack, to_denoised
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer, Eval
from webui.ext.joining import adders_named, joined, watching
from webui.ext.passes import Tools
from webui.ext.scope import Scope
from webui.ext.steps import Rows, StepContext, UnetContext, latent_of, replaced
from webui.nn.taps import Controls, with_inputs
from webui.schema.errors import ExtensionError

Part = tuple["Scope | None", Rows]
ContextOf = Callable[[str], UnetContext]


class Wanted(Protocol):
    """One evaluation of one picture's sampler (`webui.pipeline.work.Denoise`)."""

    @property
    def eval(self) -> Eval: ...

    @property
    def guidance(self) -> Guidance: ...

    @property
    def steps(self) -> int: ...

    @property
    def scope(self) -> Scope | None: ...


def denoise_scoped(
    wanted: Sequence[Wanted], tools: Tools, schedule: NoiseSchedule, prediction: Prediction
) -> list[tuple[Tensor, Answer]]:
    """(x (c h w), answer) for each picture; x may have been replaced by a hook.

    Every hook sees the rows of its own picture. Pictures with taps or patched weights get calls of their own.
    """
    evals = [item.eval if item.scope is None else begin_step(item.scope, item.eval, prediction) for item in wanted]
    outputs: list[dict[tuple[int, int], Tensor]] = [{} for _ in wanted]
    calls = [stack([wish], [item.guidance], schedule) for wish, item in zip(evals, wanted, strict=True)]
    for wave in zip_longest(*calls):  # a picture whose conds differ in length needs more than one call
        parts: dict[int, Part] = {}
        for image, call in enumerate(wave):
            if call is not None:
                scope = wanted[image].scope
                rows = Rows(call, evals[image], wanted[image].guidance, wanted[image].steps, partial(_residuals, scope))
                parts[image] = (scope, rows)
        _answer_rows(list(parts.values()), tools)
        for image, (_, rows) in parts.items():
            assert rows.output is not None
            outputs[image] |= zip(rows.places, rows.output.unbind(), strict=True)
    return [
        (wish.x, guide(item.scope, wish, item.guidance, given, prediction))
        for wish, item, given in zip(evals, wanted, outputs, strict=True)
    ]


def begin_step(scope: Scope, wish: Eval, prediction: Prediction) -> Eval:
    """`after_step` of the step before and `before_step` of this one, at the first call of a solver step."""
    if scope.step == wish.step:
        return wish
    end_step(scope, wish.x, prediction)
    scope.step, scope.sigma = wish.step, wish.sigma
    x = wish.x
    for owner, function in scope.hooks.of("before_step"):
        context = StepContext(scope.contexts[owner], replace(wish, x=x), scope.guidance, prediction)
        scope.hooks.caller.call("before_step", owner, function, context)
        x = latent_of(context)
    return replace(wish, x=x)


def end_step(scope: Scope, x: Tensor, prediction: Prediction) -> None:
    """`after_step` with the latent (c h w) that the solver came to."""
    if scope.step is None:
        return
    wish = Eval(x, scope.sigma, scope.step)

    def context(owner: str) -> StepContext:
        made = StepContext(scope.contexts[owner], wish, scope.guidance, prediction)
        made.denoised = None if scope.denoised is None else scope.denoised.clone()
        return made

    for _ in scope.hooks.each("after_step", context):
        pass
    scope.step = None


def guide(
    scope: Scope | None,
    wish: Eval,
    guidance: Guidance,
    outputs: Mapping[tuple[int, int], Tensor],
    prediction: Prediction,
) -> Answer:
    """Raw outputs (c h w) by (0, row) -> the guided answer, through `combine` and `after_cfg`."""
    if scope is None:
        return combine([wish], [guidance], outputs, prediction)[0]
    answer = _combined(scope, wish, guidance, outputs, prediction)
    answer = answer or combine([wish], [guidance], outputs, prediction)[0]

    def context(owner: str, denoised: Tensor) -> StepContext:
        made = StepContext(scope.contexts[owner], wish, guidance, prediction)
        made.denoised = denoised.clone()
        return made

    scope.denoised = scope.hooks.fold("after_cfg", answer.denoised, context)
    return Answer(scope.denoised, answer.uncond)


def _combined(
    scope: Scope, wish: Eval, guidance: Guidance, outputs: Mapping[tuple[int, int], Tensor], prediction: Prediction
) -> Answer | None:
    """What the extension that owns the guidance formula makes of the outputs; None where none does."""
    rows = [outputs[0, row].to(wish.x) for row in range(len(guidance.rows()))]
    uncond = rows[len(guidance.conds)] if guidance.needs_uncond else None
    found: tuple[str, Tensor] | None = None
    for owner, function in scope.hooks.of("combine"):
        context = StepContext(scope.contexts[owner], wish, guidance, prediction)
        context.conds = tuple(row.clone() for row in rows[: len(guidance.conds)])
        context.uncond = None if uncond is None else uncond.clone()
        with scope.hooks.caller.running("combine", owner):
            guided = function(context)
            if guided is not None and found is None:
                found = (owner, replaced("what combine returned", guided, rows[0]))
            elif guided is not None and found is not None:
                raise ExtensionError(
                    f'The extensions "{found[0]}" and "{owner}" both want to own the guidance formula.',
                    "Use one of them at a time.",
                )
    if found is None:
        return None
    below = None if uncond is None else to_denoised(prediction, uncond, wish.x, wish.sigma)
    return Answer(to_denoised(prediction, guidance.pulled(found[1], rows), wish.x, wish.sigma), below)


def _residuals(scope: Scope | None, rows: Rows) -> Controls | None:
    if scope is None:
        return None
    given = scope.contribution(rows)
    rows.keys_values = given.keys_values
    controls = given.controls
    nothing = controls.middle is None and not controls.hidden and all(skip is None for skip in controls.skips)
    return None if nothing else controls


def _answer_rows(parts: Sequence[Part], tools: Tools) -> None:
    """Give each picture's rows their output, through `before_unet` and `after_unet`."""
    groups: dict[object, list[Part]] = defaultdict(list)
    for index, (scope, rows) in enumerate(parts):
        if scope is not None:
            for _ in scope.hooks.each("before_unet", _unet_context(scope, rows)):
                pass
        alone = scope is not None and scope.alone
        groups[index if alone else _shape(rows)].append((scope, rows))
    for group in groups.values():
        _call_together(group, tools)
    for scope, rows in parts:
        if scope is not None and rows.output is not None:
            context = _unet_context(scope, rows)

            def told(owner: str, output: Tensor, rows: Rows = rows, context: ContextOf = context) -> UnetContext:
                rows.output = output
                return context(owner)

            rows.output = scope.hooks.fold("after_unet", rows.output, told)


def _ask_together(group: Sequence[Part]) -> None:
    """Ask each control network once for all pictures of a call, where their residuals are still wanted."""
    waiting = [(scope.units, rows) for scope, rows in group if scope is not None and scope.units and not rows.has_total]
    asked = [(units, rows.unet_rows) for units, rows in waiting]
    for (_, rows), answers in zip(waiting, answer_together(asked), strict=True):
        rows.answers = answers


def _call_together(group: Sequence[Part], tools: Tools) -> None:
    _ask_together(group)
    totals = [rows.total for _, rows in group]
    with adders_named([scope for scope, _ in group if scope is not None]):
        _call_unet(group, totals, tools)


def _call_unet(group: Sequence[Part], totals: Sequence[Controls | None], tools: Tools) -> None:
    """One call for the rows of all these pictures."""
    counts = [len(rows.is_cond) for _, rows in group]
    controls = joined(totals, counts)
    measured = [scope.units if scope is not None else None for scope, _ in group]
    if controls is not None and any(measured):
        controls = replace(controls, watch=watching([units.measure if units else None for units in measured], counts))
    scope, rows = group[0]
    if len(group) == 1 and scope is not None:
        rows.output = scope.call_unet(rows, controls, rows.keys_values)
        return
    y = [rows.y for _, rows in group if rows.y is not None]
    x, timesteps, context = (
        torch.cat([getattr(rows, name) for _, rows in group]) for name in ("x", "timesteps", "context")
    )
    taps = with_inputs(None, tools.inputs)
    output = tools.run(lambda: tools.unet(x, timesteps, context, torch.cat(y) if y else None, controls, taps))
    for (_, rows), own in zip(group, output.split(counts), strict=True):
        rows.output = own


def _unet_context(scope: Scope, rows: Rows) -> ContextOf:
    return lambda owner: UnetContext(scope.contexts[owner], rows)


def _shape(rows: Rows) -> tuple[object, ...]:
    parts = (rows.x, rows.context, rows.y)
    return tuple(None if part is None else (part.shape[1:], part.dtype) for part in parts)
