"""Which loaded checkpoints stay in the machine's memory, so that going back to one takes no reading."""

from __future__ import annotations

from collections.abc import Sequence

SHARE = 0.5
"""Of the machine's memory, where no limit is given."""
RESERVE = 1024**3
"""Bytes that stay free for all else when a checkpoint is read."""


def budget(total: int | None, limit: int | None) -> int:
    """Bytes for checkpoints. total: of the machine, None where that is not known: then the present one alone stays."""
    if limit is not None:
        return limit
    return 0 if total is None else int(total * SHARE)


def too_many(sizes: Sequence[int], coming: int, budget: int, free: int | None = None) -> int:
    """How many of the least recently used go before another one comes.

    sizes: of those that are there, the least recently used first; coming: of the other one; free: what the machine has
    left now, None where that is not known.
    """
    gone = 0
    while gone < len(sizes):
        fits = sum(sizes[gone:]) + coming <= budget
        left = free is None or free + sum(sizes[:gone]) >= coming + RESERVE
        if fits and left:
            break
        gone += 1
    return gone
