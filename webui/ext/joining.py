"""What several pictures add to one call of the U-Net, and who added it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from webui.ext.calls import CURE
from webui.ext.needs import listed
from webui.ext.scope import Scope
from webui.nn.out_of_memory import is_out_of_memory
from webui.nn.taps import Controls
from webui.schema.errors import ExtensionError


@contextmanager
def adders_named(scopes: Sequence[Scope]) -> Iterator[None]:
    """Where the U-Net fails with what was added to it, say who added something."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        names = list(dict.fromkeys(name for scope in scopes for name in scope.adders))
        if not names or is_out_of_memory(error):
            raise
        said = f"The U-Net failed with what was added to it by {listed(names)}: {type(error).__name__}: {error}"
        raise ExtensionError(said, CURE) from error


def joined(totals: Sequence[Controls | None], counts: Sequence[int]) -> Controls | None:
    """Residuals of several pictures with so many rows each, as those of one call: zeros for who has none."""
    given = [one for one in totals if one is not None]
    if not given:
        return None
    longest = max(len(one.skips) for one in given)
    skips = [
        _cat([one.skips[index] if one is not None and index < len(one.skips) else None for one in totals], counts)
        for index in range(longest)
    ]
    middle = _cat([None if one is None else one.middle for one in totals], counts)
    blocks = sorted({block for one in given for block in one.hidden})
    hidden = {
        block: _cat([None if one is None else one.hidden.get(block) for one in totals], counts) for block in blocks
    }
    return Controls(skips, middle, {block: state for block, state in hidden.items() if state is not None})


def _cat(parts: Sequence[Tensor | None], counts: Sequence[int]) -> Tensor | None:
    """(b_i c h w) or (1 c h w) or None, of pictures with b_i rows -> (sum b_i, c h w)."""
    like = next((part for part in parts if part is not None), None)
    if like is None:
        return None
    shape = like.shape[1:]
    return torch.cat([
        like.new_zeros(count, *shape) if part is None else part.to(like).expand(count, *part.shape[1:])
        for part, count in zip(parts, counts, strict=True)
    ])  # fmt: skip


def watching(
    measures: Sequence[Callable[[Sequence[Tensor], Tensor], None] | None], counts: Sequence[int]
) -> Callable[[Sequence[Tensor], Tensor], None]:
    """Tell each picture's units the hidden states of its own rows."""

    def watch(skips: Sequence[Tensor], middle: Tensor) -> None:
        first = 0
        for measure, count in zip(measures, counts, strict=True):
            if measure is not None:
                measure([skip[first : first + count] for skip in skips], middle[first : first + count])
            first += count

    return watch
