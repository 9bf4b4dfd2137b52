"""What the user writes: a region a line, and the part of the picture that it means.

    left 1/3: a red ball
    column 2 of 1:1:2 * 1.2: a blue cube
    top right: the moon
    red: what is painted red

Places are parts of the whole picture: u from 0 at the left to 1 at the right, v from 0 at the top to 1 at the bottom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from webui.ext import BadRequest

from .painting import COLOURS, Paint

Places = NDArray[np.float64]
Cover = NDArray[np.bool_]

WHOLE = r"\d{1,9}"
# Each text is read in one way alone: what can be read in many makes the search for one that fits take forever.
NUMBER = rf"(?:{WHOLE}/{WHOLE}|(?:{WHOLE}(?:\.\d*)?|\.\d+)%?)"
TERM = re.compile(
    rf"\s*(?:(?P<side>left|right|top|bottom)(?:\s+(?P<share>{NUMBER}))?"
    rf"|(?P<axis>column|row)\s+(?P<at>{WHOLE})\s+of\s+(?P<ratio>{NUMBER}(?::{NUMBER})+)"
    rf"|box\s+(?P<box>{NUMBER}(?:[\s,]+{NUMBER}){{3}})"
    rf"|(?P<all>everywhere)|(?P<colour>{'|'.join(COLOURS)}))(?=[\s*:]|$)",
    re.IGNORECASE,
)
REST = re.compile(rf"\s*(?:\*\s*(?P<weight>{NUMBER})\s*)?:(?P<prompt>.*)", re.DOTALL)
MOST = 32
"""Regions of one picture: each is a prompt to encode, and in mode latent a row of every call of the U-Net."""
CURE = (
    "Write each as AREA: PROMPT, for example 'left: a red ball', 'top 1/3: clouds', 'column 2 of 1:1:2: a cube' or "
    "'box 0.1 0.2 0.3 0.4 * 1.2: a lamp'."
)


@dataclass(frozen=True)
class Box:
    """A rectangle, in parts of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def covers(self, u: Places, v: Places) -> Cover:
        """Which of the places (w), (h) lie in it: (h w)."""
        return ((v >= self.top) & (v < self.bottom))[:, None] & ((u >= self.left) & (u < self.right))[None]


@dataclass(frozen=True)
class Region:
    """One line: where all of its areas are. weight: beside the main prompt and other regions at the same place."""

    areas: tuple[Box | Paint, ...]
    prompt: str
    weight: float = 1.0

    def covers(self, u: Places, v: Places) -> Cover:
        """Which of the places (w), (h) belong to it: (h w)."""
        covered = np.ones((len(v), len(u)), bool)
        for area in self.areas:
            covered &= area.covers(u, v)
        return covered


def read_regions(text: str, paints: Mapping[str, Paint] | None = None) -> tuple[Region, ...]:
    """The regions of a text, those of weight 0 left out. paints: where each colour of the painting is, if there is one.

    Raises:
        BadRequest: names the line that cannot be read, or there are too many.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > MOST:
        raise BadRequest(f"There are {len(lines)} regions; {MOST} are the most.", "Leave some out.")
    regions = [read_region(number, line, paints) for number, line in enumerate(lines, 1)]
    return tuple(region for region in regions if region.weight)


def read_region(number: int, line: str, paints: Mapping[str, Paint] | None = None) -> Region:
    """The region of one line; number: from 1. Raises BadRequest."""
    areas: list[Box | Paint] = []
    end = 0
    while term := TERM.match(line, end):
        areas.append(_painted(number, term["colour"].lower(), paints) if term["colour"] else _box(number, term))
        end = term.end()
    rest = REST.fullmatch(line, end)
    if not areas or rest is None:
        raise BadRequest(f"Region {number} cannot be read: {line.strip()[:60]!r}.", CURE)
    region = Region(tuple(areas), rest["prompt"].strip(), _number(rest["weight"] or "1"))
    if not region.covers(*_grid()).any():
        raise BadRequest(f"Region {number} covers nothing of the picture: {line.strip()[:60]!r}.", CURE)
    return region


def _painted(number: int, colour: str, paints: Mapping[str, Paint] | None) -> Paint:
    if paints is None:
        raise BadRequest(
            f"Region {number} is what is painted {colour}, but nothing is painted.", "Paint it, or type it."
        )
    return paints[colour]


def _box(number: int, term: re.Match[str]) -> Box:
    if term["all"]:
        return Box(0, 0, 1, 1)
    if term["side"]:
        return _side(term["side"].lower(), _number(term["share"] or "1/2"))
    if term["box"]:
        left, top, width, height = (_number(word) for word in re.split(r"[\s,]+", term["box"]))
        return Box(left, top, left + width, top + height)
    return _cell(number, term["axis"].lower(), int(term["at"]), [_number(word) for word in term["ratio"].split(":")])


def _side(side: str, share: float) -> Box:
    boxes = {
        "left": Box(0, 0, share, 1), "right": Box(1 - share, 0, 1, 1),
        "top": Box(0, 0, 1, share), "bottom": Box(0, 1 - share, 1, 1),
    }  # fmt: skip
    return boxes[side]


def _cell(number: int, axis: str, at: int, ratio: Sequence[float]) -> Box:
    """The column or row `at` (from 1) of a picture that is divided so. Raises BadRequest."""
    if not 1 <= at <= len(ratio) or not sum(ratio):
        raise BadRequest(f"Region {number}: there is no {axis} {at} of {len(ratio)}.", "They are counted from 1.")
    ends = [0.0, *accumulate(part / sum(ratio) for part in ratio[:-1]), 1.0]
    first, last = ends[at - 1], ends[at]
    return Box(first, 0, last, 1) if axis == "column" else Box(0, first, 1, last)


def _number(word: str) -> float:
    """ "1/3", "30%" or "0.3"; a division by 0 is 0."""
    top, slash, bottom = word.partition("/")
    if slash:
        return float(top) / float(bottom) if float(bottom) else 0.0
    return float(word[:-1]) / 100 if word.endswith("%") else float(word)


def _grid(side: int = 512) -> tuple[Places, Places]:
    """Places all over the picture."""
    places = (np.arange(side) + 0.5) / side
    return places, places
