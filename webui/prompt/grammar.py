"""A whole prompt: comments, tags of networks, `AND`, and what changes over the steps. Attention is read later, from the
text of each step (`webui.prompt.parse`).

    a cat   # to the end of its line this is a comment; \\# is the sign itself
    a cat AND a dog:0.7                  two prompts that pull at the picture, the second with weight 0.7
    <lora:name:0.8>                      a network, see `webui.prompt.tags`

All of it is read as A1111 reads it, in time linear in the length; what is easily misread there is told in `notes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from webui.prompt.parse import LARGEST
from webui.prompt.schedule import Clock, Edit, Nodes, edits, parse_schedule, text_at, write_schedule, write_when
from webui.prompt.tags import ExtraNetwork, split_tags

_COMMENT = re.compile(r"\\.|#[^\n]*+", re.DOTALL)
_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[-+]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)")
_SQUARE = re.compile(r"\\.|[\[\]]", re.DOTALL)
MOST_NOTES = 6
HEAVY = 10.0
"""A weight of AND beyond this is more likely a time of day, or another number of the text."""


@dataclass(frozen=True)
class Part:
    """One of the prompts between ANDs, with its weight."""

    nodes: Nodes
    weight: float = 1.0


@dataclass(frozen=True)
class Prompt:
    """A prompt that was read. tags: the networks it asks for; notes: what its writer may not have meant."""

    parts: tuple[Part, ...]
    tags: tuple[ExtraNetwork, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def at(self, step: int, clock: Clock) -> tuple[tuple[str, float], ...]:
        """The texts that hold at a solver step (0-based), with their weights."""
        return tuple((text_at(part.nodes, step, clock), part.weight) for part in self.parts)

    @property
    def changes(self) -> bool:
        """Whether the text of any part depends on the step."""
        return any(not isinstance(node, str) for part in self.parts for node in part.nodes)

    def unreached(self, steps: int, hires_steps: int = 0) -> tuple[str, ...]:
        """Notes on changes that come after the last step. hires_steps: of the second pass, 0 where there is none."""
        parts = 2 if hires_steps else 1
        late = [
            edit
            for part in self.parts
            for edit in edits(part.nodes)
            if edit.when.value >= (parts if edit.when.fraction else steps + hires_steps)
        ]
        return _distinct(_late_note(edit) for edit in late)

    def over(self, hires: Clock) -> tuple[str, ...]:
        """Notes on changes that lie before the hires pass, where a prompt holds in that alone."""
        early = [
            edit
            for part in self.parts
            for edit in edits(part.nodes)
            if edit.when.value < (hires.part if edit.when.fraction else hires.before)
        ]
        return _distinct(_early_note(edit) for edit in early)

    def __str__(self) -> str:
        """The prompt as it is written; reading it gives an equal value."""
        return "".join(map(str, self.tags)) + " AND ".join(self._texts())

    def _texts(self) -> Iterator[str]:
        for part in self.parts:
            text = write_schedule(part.nodes)
            plain = len(self.parts) == 1 or (part.weight == 1 and _split_weight(text)[0] == text)
            yield text if plain else f"{text}:{Decimal(repr(part.weight)):f}"


def read_prompt(text: str, negative: bool = False) -> Prompt:
    """Read any text as a prompt. negative: AND and tags are letters there, as in A1111."""
    text, notes = strip_comments(text)
    tags: tuple[ExtraNetwork, ...] = ()
    if negative:
        notes += _negative_notes(text)
        pieces = [text]
    else:
        notes += _tag_notes(text)
        text, tags = split_tags(text)
        pieces = _AND.split(text)
    parts, more = _parts(pieces)
    return Prompt(parts, tags, _distinct(notes + more))


def still_text(text: str, negative: bool = False) -> str:
    """A prompt as one text that stays: the words of the first step, the parts of AND in a row, tags left out."""
    return ", ".join(words for words, _ in read_prompt(text, negative).at(0, Clock(1)))


def strip_comments(text: str) -> tuple[str, list[str]]:
    """A text without what stands between a "#" and the end of its line, and notes on it."""
    if "#" not in text:
        return text, []
    glued = any(
        match[0][0] == "#" and match.start() and not text[match.start() - 1].isspace()
        for match in _COMMENT.finditer(text)
    )
    stripped = _COMMENT.sub(lambda match: "" if match[0][0] == "#" else match[0], text)
    return stripped, ["What follows a # is a comment, up to the end of the line: write \\# for the sign."] * glued


def _parts(pieces: list[str]) -> tuple[tuple[Part, ...], list[str]]:
    """What stands between ANDs, read, and notes on it."""
    parts, notes = list[Part](), list[str]()
    for piece in pieces:
        body, weight = _split_weight(piece)
        if len(pieces) == 1:
            if weight is not None:
                notes.append(f"The prompt ends in :{_short(weight)}; without AND that is no weight but text.")
            body, weight = piece, None
        elif weight is not None and abs(weight) > HEAVY:
            notes.append(f"The number at the end of a part of AND is its weight, here {_short(weight)}.")
        if len(pieces) > 1 and _is_open(piece):
            notes.append("AND stands inside brackets [ ]: it splits the whole prompt all the same.")
        nodes, more = parse_schedule(body)
        parts.append(Part(nodes, 1.0 if weight is None else weight))
        notes += more
    return tuple(parts), notes


def _split_weight(piece: str) -> tuple[str, float | None]:
    """A part of AND without the white space around it and its weight; the weight, None where it has none."""
    head, colon, tail = piece.rpartition(":")
    if colon and _WEIGHT.fullmatch(tail.strip()):
        return head.strip(), max(-LARGEST, min(float(tail), LARGEST))
    return piece.strip(), None


def _is_open(piece: str) -> bool:
    depth = 0
    for match in _SQUARE.finditer(piece):
        depth += {"[": 1, "]": -1}.get(match[0], 0)
    return depth != 0


def _negative_notes(text: str) -> list[str]:
    notes = []
    if _AND.search(text):
        notes.append("AND has no effect in the negative prompt: it is read as a word.")
    if split_tags(text)[1]:
        notes.append("Networks are named in the prompt; a tag in the negative prompt is read as text.")
    return notes


def _tag_notes(text: str) -> list[str]:
    """A note where a tag stands inside square brackets."""
    inside = split_tags(text)[1] and any(split_tags(group)[1] for group in re.findall(r"\[[^\[\]]*+\]", text))
    return ["A network inside [ ] acts at every step; the brackets do not touch it."] if inside else []


def _distinct(notes: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(dict.fromkeys(notes), MOST_NOTES))


def _early_note(edit: Edit) -> str:
    share = "shares from 1.0 to 2.0" if edit.when.fraction else "numbers beyond the first pass's steps"
    return f"{_excerpt(edit)} changes before the hires pass, whose prompt this is: {share} fall into it."


def _excerpt(edit: Edit) -> str:
    words = write_schedule((edit,))
    return words if len(words) <= 40 else f"{words[:39]}…"


def _late_note(edit: Edit) -> str:
    share = edit.when.fraction
    when = f"{_short(edit.when.value * 100)} % of the steps" if share else f"step {write_when(edit.when)}"
    attention = share and not edit.before
    meant = f"; for attention write ({write_schedule(edit.after)[:39]}:{write_when(edit.when)})" if attention else ""
    return f"{_excerpt(edit)} changes after {when}, so never in this picture{meant}."


def _short(number: float) -> str:
    return f"{number:g}"
