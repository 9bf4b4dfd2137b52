"""How each point of a pass is guided where the prompt changes over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from webui.diffusion.denoiser import Guidance
from webui.diffusion.types import Eval
from webui.ext.handed import own
from webui.ext.scope import Scope
from webui.pipeline.texts import PassTexts
from webui.pipeline.work import Networks


class Guide:
    """The guidance of each point of a pass whose prompt changes over the steps. guidances: of each of its texts.

    What extensions changed when the pass was opened holds for all of it: conds that they left as they were are
    exchanged with the prompt, conds that they put in stay.
    """

    def __init__(self, texts: PassTexts, guidances: Sequence[Guidance], scope: Scope | None) -> None:
        self._texts = texts
        self._scope = scope
        self._guidances = guidances
        if scope is not None and texts.order:
            self._guidances = [exchanged(scope.opened, scope.guidance, own(guidance)) for guidance in guidances]

    def networks_at(self, point: Eval) -> Networks | None:
        """The networks that stand on the model at a point."""
        return self._texts.networks_at(point)

    def at(self, point: Eval, only: Guidance) -> Guidance:
        """The guidance at a point. only: that of a prompt that does not change."""
        if not self._texts.order:
            return only
        found = self._guidances[self._texts.index(point)]
        if self._scope is not None:
            self._scope.guidance = found
        return found


def exchanged(opened: Guidance, changed: Guidance, now: Guidance) -> Guidance:
    """`changed`, which extensions made of `opened`, with the conds of `now` in the place of those of `opened`."""
    places = {id(cond): cond_now for (cond, _), (cond_now, _) in zip(opened.conds, now.conds, strict=True)}
    conds = tuple((places.get(id(cond), cond), weight) for cond, weight in changed.conds)
    if changed.uncond is opened.uncond:
        return replace(changed, conds=conds, uncond=now.uncond, bare=changed.bare and now.bare)
    return replace(changed, conds=conds)
