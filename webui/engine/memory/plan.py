"""Which parts of a model are on the device in which stage of a job, decided from sizes alone before it begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from webui.schema.memory import VramMode

Manner = Literal["together", "turns", "blocks"]
"""together: what was used stays while there is room; turns: what a stage does not need is not there in it; blocks: as
turns, and what is made of blocks comes block by block."""
MANNERS: tuple[Manner, ...] = ("together", "turns", "blocks")
SAID: Mapping[Manner, str] = {
    "turns": "text encoders, U-Net and VAE take turns on the device, as with --medvram",
    "blocks": "the U-Net comes to the device block by block, as with --lowvram, which is slower",
}
"""What is told of a manner that was not asked for."""
WISHED: Mapping[VramMode, Manner] = {"high": "together", "med": "turns", "low": "blocks"}


@dataclass(frozen=True)
class Size:
    """Bytes of a part. whole: all of it; least: what of it is there at once when it comes block by block."""

    whole: int
    least: int

    def of(self, manner: Manner) -> int:
        return self.least if manner == "blocks" else self.whole


@dataclass(frozen=True)
class Stage:
    """Work that needs some parts at once, and so many bytes beside their weights."""

    name: str
    parts: tuple[str, ...]
    working: int = 0


@dataclass(frozen=True)
class Move:
    """A part comes to the device, or leaves it, before a stage begins."""

    stage: str
    part: str
    comes: bool


@dataclass(frozen=True)
class Plan:
    """manner: how the job goes; moves: in their order; peak: the most bytes that are used at once; fits: whether so
    many are expected to be there. together: the bytes that it would take to leave everything on the device."""

    manner: Manner
    moves: tuple[Move, ...]
    peak: int
    fits: bool
    together: int


def make_plan(
    stages: Sequence[Stage],
    sizes: Mapping[str, Size],
    budget: int | None,
    wish: VramMode = "auto",
    here: Sequence[str] = (),
) -> Plan:
    """The plan of a job.

    sizes: of every part that is named; budget: bytes of the device, None where it has as many as the machine; here: the
    parts that are on the device now, the one that was used last at the end. Unless the wish decides it, the first of
    `MANNERS` that fits is taken, and the last one where none does.
    """
    plans = [_planned(stages, sizes, budget, manner, here) for manner in MANNERS]
    wished = WISHED.get(wish)
    if budget is None:
        return plans[0]
    if wished is not None:
        return plans[MANNERS.index(wished)]
    return next((plan for plan in plans if plan.fits), plans[-1])


def leaving(
    here: Sequence[str],
    wanted: Collection[str],
    stage: Collection[str],
    sizes: Mapping[str, Size],
    room: int | None,
    manner: Manner,
) -> tuple[str, ...]:
    """The parts that leave the device before others come: never one that is wanted, the least recently used first.

    here: in the order of their last use; wanted: that shall be there afterwards; stage: those that may stay in any case
    while there is room; room: bytes for all parts together, None for any number.
    """
    others = [part for part in here if part not in wanted]
    gone = [] if manner == "together" else [part for part in others if part not in stage]
    total = sum(sizes[part].of(manner) for part in {*here, *wanted} - {*gone})
    for part in others:
        if room is None or total <= room:
            break
        if part not in gone:
            gone.append(part)
            total -= sizes[part].of(manner)
    return tuple(part for part in others if part in gone)


def lower(manner: Manner) -> Manner | None:
    """The next manner that needs less of the device."""
    following = MANNERS[MANNERS.index(manner) + 1 :]
    return following[0] if following else None


def _planned(
    stages: Sequence[Stage], sizes: Mapping[str, Size], budget: int | None, manner: Manner, here: Sequence[str]
) -> Plan:
    """What happens in a manner. With "together" it fits where all parts of all stages do at once."""
    moves: list[Move] = []
    now, peak = [part for part in here if part in sizes], 0
    for stage in stages:
        room = None if budget is None else budget - stage.working
        gone = leaving(now, stage.parts, stage.parts, sizes, room, manner)
        coming = [part for part in stage.parts if part not in now]
        moves += [Move(stage.name, part, False) for part in gone] + [Move(stage.name, part, True) for part in coming]
        now = [part for part in now if part not in gone and part not in stage.parts] + list(stage.parts)
        peak = max(peak, sum(sizes[part].of(manner) for part in now) + stage.working)
    parts = {part for stage in stages for part in stage.parts}
    together = sum(sizes[part].whole for part in parts) + max((stage.working for stage in stages), default=0)
    needed = together if manner == "together" else peak
    return Plan(manner, tuple(moves), peak, budget is None or needed <= budget, together)
