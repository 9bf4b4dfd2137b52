"""One call of a control network for all pictures of a batch that it steers in the same way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from webui.control.adapters import Residuals, UnetRows
from webui.control.passes import PassUnits
from webui.control.units import Unit

Answers = dict[int, Residuals]
"""Number of a unit -> its network's residuals for the rows in which it acts."""


def answer_together(asked: Sequence[tuple[PassUnits, UnetRows]]) -> list[Answers]:
    """For each picture of a U-Net call, the answers of the networks that several of the pictures share.

    The rows of those pictures go through the network as one batch. What is not in an answer is asked picture by
    picture (`PassUnits.total`).
    """
    groups: dict[object, list[tuple[int, Unit, UnetRows]]] = defaultdict(list)
    for picture, (units, call) in enumerate(asked):
        for unit in units.active(call):
            rows = unit.rows(call)
            if rows:
                groups[id(unit.fitted), call.step, call.steps, shapes(call)].append((picture, unit, call.only(rows)))
    answers: list[Answers] = [{} for _ in asked]
    for members in groups.values():
        if len(members) > 1:
            whole = members[0][1].ask(joined([call for _, _, call in members]))
            counts = [len(call.is_cond) for _, _, call in members]
            for (picture, unit, _), part in zip(members, split(whole, counts), strict=True):
                answers[picture][unit.number] = part
    return answers


def joined(calls: Sequence[UnetRows]) -> UnetRows:
    """The rows of several pictures in the same solver step, one behind the other."""
    first = calls[0]
    vectors = [call.y for call in calls if call.y is not None]
    return replace(
        first,
        x=torch.cat([call.x for call in calls]),
        timesteps=torch.cat([call.timesteps for call in calls]),
        context=torch.cat([call.context for call in calls]),
        y=torch.cat(vectors) if vectors else None,
        is_cond=tuple(cond for call in calls for cond in call.is_cond),
    )


def split(whole: Residuals, counts: Sequence[int]) -> list[Residuals]:
    """Residuals for the rows of several pictures -> those of each; a tensor of one row is for all."""

    def parts(x: Tensor) -> Sequence[Tensor]:
        return [x] * len(counts) if len(x) == 1 else x.split(list(counts))

    skips = [[None] * len(counts) if skip is None else parts(skip) for skip in whole.skips]
    middle = [None] * len(counts) if whole.middle is None else parts(whole.middle)
    hidden = {block: parts(state) for block, state in whole.hidden.items()}
    attended = {name: (parts(keys), parts(values)) for name, (keys, values) in whole.keys_values.items()}
    return [
        Residuals(
            [skip[index] for skip in skips],
            middle[index],
            {block: states[index] for block, states in hidden.items()},
            {name: (keys[index], values[index]) for name, (keys, values) in attended.items()},
        )
        for index in range(len(counts))
    ]


def shapes(call: UnetRows) -> tuple[object, ...]:
    """What must be equal for rows to go together."""
    parts = (call.x, call.context, call.y)
    return tuple(None if part is None else (part.shape[1:], part.dtype) for part in parts)
