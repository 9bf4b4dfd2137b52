"""Which brackets of a prompt say when their words are shown: `[from:to:when]` and `[a|b]`.

The rules are those of A1111. A square bracket is such a group when everything inside it is: brackets in it are closed
in order, a round one has at most one colon of its own, and a square one has either one or two colons with a number
behind the last, or bars and no colon, or neither. All other brackets are letters, to be read as attention later, and so
is a group around them. A bar anywhere else makes letters of the whole prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]++|\\", re.DOTALL)
DEEPEST = 32
"""Groups that are nested deeper than this are letters."""
FARTHEST = 1_000_000

_NUMBER = re.compile(r"\s*+([+-]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+)\s*+")
_CLOSING = {"(": ")", "[": "]"}
_EXCERPT = 40


@dataclass(frozen=True)
class When:
    """After which step a bracket changes: a share of the steps of a pass where `fraction`, else a number of steps."""

    value: float
    fraction: bool


@dataclass(frozen=True)
class Group:
    """A scheduled bracket. close, marks: indices of its closing token and its separators; when: None for [a|b]."""

    close: int
    marks: tuple[int, ...]
    when: When | None


@dataclass
class Groups:
    """The groups by the index of the token that opens them. literal: a bar stands outside them, so none of them counts.

    notes: what the writer of the prompt may not have meant.
    """

    found: dict[int, Group] = field(default_factory=dict)
    literal: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class _Open:
    """A bracket that is not closed yet. depth: of the groups inside it."""

    index: int
    kind: str
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)
    depth: int = 0


def find_groups(tokens: Sequence[str]) -> Groups:
    """The scheduled brackets among the tokens of a prompt, in linear time."""
    groups, stack = Groups(), list[_Open]()
    barred = False
    for index, token in enumerate(tokens):
        if token in _CLOSING:
            stack.append(_Open(index, token))
        elif token == ":" and stack:
            stack[-1].colons.append(index)
        elif token == "|":
            groups.literal = groups.literal or not stack
            if stack:
                stack[-1].bars.append(index)
        elif token in _CLOSING.values() and stack:
            depth = _close(stack[-1], tokens, index, groups)
            if depth is None:  # nothing around it can be a group any more
                barred = _give_up(stack, groups) or barred
            else:
                stack.pop()
                if stack:
                    stack[-1].depth = max(stack[-1].depth, depth)
    barred = _give_up(stack, groups) or barred
    if groups.literal and (barred or groups.found):
        groups.notes.append(
            'A "|" stands outside of [ ] or beside a ":" in them: no part of this prompt is scheduled or alternated.'
        )
    return groups


def when_of(text: str) -> When | None:
    """The number behind the last colon of a bracket; None where it is none. With a point it is a share of the steps."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    fraction, value = "." in match[1], max(-FARTHEST, min(float(match[1]), FARTHEST))
    return When(value if fraction else int(value), fraction)


def _give_up(stack: list[_Open], groups: Groups) -> bool:
    """Make letters of all brackets that are open; whether there were bars in them."""
    barred = any(opened.bars for opened in stack)
    groups.literal = groups.literal or barred
    stack.clear()
    return barred


def _close(opened: _Open, tokens: Sequence[str], index: int, groups: Groups) -> int | None:
    """How deep groups are nested in the bracket that token `index` closes, itself included; None: these are letters."""
    if _CLOSING[opened.kind] != tokens[index]:
        return None
    if opened.kind == "(":
        return opened.depth if len(opened.colons) <= 1 and not opened.bars else None
    if not opened.colons and not opened.bars:
        return opened.depth
    group = _group(opened, tokens, index, groups)
    if group is not None and opened.depth >= DEEPEST:
        groups.notes.append(f"Brackets [ ] are nested more than {DEEPEST} deep: the outer ones are read as text.")
        return None
    if group is None:
        return None
    groups.found[opened.index] = group
    return opened.depth + 1


def _group(opened: _Open, tokens: Sequence[str], index: int, groups: Groups) -> Group | None:
    if opened.bars:
        return None if opened.colons else Group(index, tuple(opened.bars), None)
    if len(opened.colons) > 2:
        return None
    last = opened.colons[-1]
    when = when_of(tokens[last + 1]) if last + 2 == index else None
    if when is None:
        groups.notes.append(f"{_excerpt(tokens, opened.index, index)} is read as text: no number ends it.")
        return None
    return Group(index, tuple(opened.colons), when)


def _excerpt(tokens: Sequence[str], start: int, end: int) -> str:
    """The tokens from start to end, shortened."""
    text = "".join(tokens[start : min(end, start + _EXCERPT) + 1])
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…"
