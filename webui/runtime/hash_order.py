"""Which digests of a model file are read, and which file comes first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from webui.checkpoints.cache import FileTime
from webui.checkpoints.digests import WEIGHTS, WHOLE, Digest
from webui.networks.inventory import Item


def digests_of(item: Item) -> tuple[Digest, ...]:
    """The digests by which pictures and pages name a file."""
    return (WHOLE, WEIGHTS) if item.kind == "lora" else (WHOLE,)


def stamp_of(item: Item) -> FileTime:
    """What digests of a file are kept with."""
    return item.stamp[0], item.stamp[1]


def ranking(used: Sequence[str]) -> Callable[[Item], tuple[int, int, int]]:
    """Checkpoints that were used, the last one first, then the other ones, then the rest; small files before large."""
    ranks = {name: at for at, name in enumerate(used)}
    last = len(ranks)
    return lambda item: (
        ranks.get(item.name, last) if item.kind == "checkpoint" else last + 1, item.kind != "checkpoint", item.bytes,
    )  # fmt: skip
