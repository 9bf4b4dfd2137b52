"""How strong a tag wants its network, in the text encoders and in the U-Net, and how that changes over the steps.

    <lora:name>                      1 in both
    <lora:name:0.8>                  0.8 in both
    <lora:name:0.5:0.8>              0.5 in the text encoders, 0.8 in the U-Net; also te=0.5:unet=0.8
    <lora:name:0:0.5@0.2,1@0.8>      none in the text encoders; in the U-Net 0.5 up to a fifth of the steps, then more
                                     and more, 1 from four fifths on

`@` is as in `[from:to:when]`: with a point a share of the steps, without one a number of steps; shares from 1 to 2 and
numbers beyond the first pass fall into the hires pass. Prompts are read once, so text encoders have the strength of the
first step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from webui.prompt.brackets import When
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork
from webui.schema.errors import BadRequest

_POINT = re.compile(r"(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))(?:@(?P<when>\d+(?P<point>\.\d*)?|(?P<short>\.\d+)))?")
LARGEST = 100.0
MEANT = ("te", "unet")
UNUSED = ("dyn",)
"""Values that A1111 takes and that mean nothing for the kinds of networks there are."""


@dataclass(frozen=True)
class Point:
    """A weight from a moment on; None: always."""

    weight: float
    when: When | None = None


@dataclass(frozen=True)
class Strength:
    """A weight, or several that follow each other: between two of them it goes straight from one to the other."""

    points: tuple[Point, ...]

    @property
    def changes(self) -> bool:
        return len({point.weight for point in self.points}) > 1

    def at(self, step: int, clock: Clock) -> float:
        """The weight at a step of a pass, counted from 0."""
        placed = sorted(((_position(point.when, clock), point.weight) for point in self.points), key=_first)
        if step < placed[0][0]:
            return placed[0][1]
        for (start, weight), (end, following) in pairwise(placed):
            if start <= step < end:
                return weight + (following - weight) * (step - start) / (end - start)
        return placed[-1][1]


@dataclass(frozen=True)
class Strengths:
    """What a tag asks for. notes: what of it has no meaning here."""

    te: Strength
    unet: Strength
    notes: tuple[str, ...] = ()


def read_strengths(tag: ExtraNetwork) -> Strengths:
    """The strengths of a tag.

    Raises:
        BadRequest: it has no name, or a weight that is none.
    """
    if not tag.name:
        raise BadRequest(f"The tag {tag} names no network.", _SPELLINGS)
    named = tag.named
    te = named.get("te", tag.args[0] if tag.args else "1")
    unet = named.get("unet", tag.args[1] if len(tag.args) > 1 else te)
    unknown = [*tag.args[3:], *(f"{key}={value}" for key, value in tag.named_args if key not in (*MEANT, *UNUSED))]
    notes = tuple(f'In {tag}, "{text}" has no meaning here and was left out.' for text in unknown)
    return Strengths(_strength(te, tag), _strength(unet, tag), notes)


_SPELLINGS = "Write <lora:name:0.8>, <lora:name:0.5:0.8> for text and U-Net, or <lora:name:0:0.5@0.2,1@0.8> by steps."


def _strength(text: str, tag: ExtraNetwork) -> Strength:
    points = tuple(_point(part.strip(), tag) for part in text.split(","))
    if len(points) > 1 and any(point.when is None for point in points):
        raise BadRequest(f"In {tag}, one of several weights does not say when it holds.", _SPELLINGS)
    return Strength(points)


def _point(text: str, tag: ExtraNetwork) -> Point:
    found = _POINT.fullmatch(text)
    if found is None:
        raise BadRequest(f'In {tag}, "{text}" is no weight.', _SPELLINGS)
    weight = max(-LARGEST, min(float(found["weight"]), LARGEST))
    if found["when"] is None:
        return Point(weight)
    return Point(weight, When(float(found["when"]), found["point"] is not None or found["short"] is not None))


def _position(when: When | None, clock: Clock) -> float:
    """The step of a pass at which a moment lies; before the pass it is negative."""
    if when is None:
        return 0.0
    return (when.value - clock.part) * clock.steps if when.fraction else when.value - clock.before


def _first(pair: tuple[float, float]) -> float:
    return pair[0]
