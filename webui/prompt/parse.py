"""The attention grammar of prompts.

    (word)        attention x 1.1         (word:1.3)    attention x 1.3
    [word]        attention / 1.1         \\( \\) \\[ \\]   the brackets themselves
    BREAK         what follows starts a new chunk of tokens

Brackets nest, and their factors multiply. One that is never closed acts to the end; one that was never opened is text.
Every step takes linear time, whatever the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from webui.schema.names import Emphasis

ROUND = 1.1
SQUARE = 1 / 1.1
LARGEST = 1000.0
"""Weights are held within this bound: a thousand nested brackets would overflow."""

# Possessive numbers: ":111...1" without a bracket behind it is looked at once.
_TOKEN = re.compile(r"\\[()\[\]\\]?|:\s*+([+-]?(?:\d++(?:\.\d*+)?+|\.\d++))\s*+\)|[()\[\]]|[^\\()\[\]:]++|:")
_BREAK = re.compile(r"\bBREAK\b")


class Weighted(NamedTuple):
    """A run of text with one attention weight."""

    text: str
    weight: float


Section = tuple[Weighted, ...]


class _Brackets(NamedTuple):
    """By index of their tokens: brackets that open, with the factor they turn out to have, and those that close one."""

    opening: dict[int, tuple[str, float]]
    closing: dict[int, str]


def parse_prompt(text: str) -> tuple[Section, ...]:
    """The sections between BREAKs, each a run of weighted texts; neighbours of one weight are joined."""
    sections: list[list[Weighted]] = [[]]
    for part in _weigh(list(_TOKEN.finditer(text))):
        first, *others = _split_breaks(part.text)
        sections[-1].append(Weighted(first, part.weight))
        sections += [[Weighted(other, part.weight)] for other in others]
    return tuple(_join(section) for section in sections)


def parse_emphasis(text: str, emphasis: Emphasis) -> tuple[Section, ...]:
    """As `parse_prompt`, in the way of one of A1111's emphasis modes."""
    if emphasis == "None":
        return (_join([Weighted(text, 1.0)]),)
    sections = parse_prompt(text)
    if emphasis != "Ignore":
        return sections
    return tuple(_join([Weighted(part.text, 1.0) for part in section]) for section in sections)


def parse_attention(text: str) -> list[Weighted]:
    """The weighted texts of a prompt, its BREAKs left out."""
    return [part for section in parse_prompt(text) for part in section]


def _pair_brackets(tokens: Sequence[re.Match[str]]) -> _Brackets:
    found = _Brackets({}, {})
    unclosed: dict[str, list[int]] = {"(": [], "[": []}
    for index, match in enumerate(tokens):
        token, weight = match[0], match[1]
        if token in unclosed:
            unclosed[token].append(index)
            found.opening[index] = token, ROUND if token == "(" else SQUARE
            continue
        kind = "(" if token == ")" or weight else "[" if token == "]" else ""
        if kind and unclosed[kind]:
            opening = unclosed[kind].pop()
            found.closing[index] = kind
            if weight:
                found.opening[opening] = kind, float(weight)
    return found


def _weigh(tokens: Sequence[re.Match[str]]) -> Iterator[Weighted]:
    """The tokens that are text, each with the product of the brackets around it."""
    brackets = _pair_brackets(tokens)
    products: dict[str, list[float]] = {"(": [1.0], "[": [1.0]}
    for index, match in enumerate(tokens):
        if index in brackets.opening:
            kind, factor = brackets.opening[index]
            products[kind].append(_bounded(products[kind][-1] * factor))
        elif index in brackets.closing:
            products[brackets.closing[index]].pop()
        else:
            text = match[0].removeprefix("\\") if match[0] != "\\\\" else "\\"
            yield Weighted(text, _bounded(products["("][-1] * products["["][-1]))


def _bounded(weight: float) -> float:
    return max(-LARGEST, min(weight, LARGEST))


def _split_breaks(text: str) -> list[str]:
    """The text between BREAKs, without the white space about them."""
    parts = _BREAK.split(text)
    if len(parts) == 1:
        return parts
    return [parts[0].rstrip(), *(part.strip() for part in parts[1:-1]), parts[-1].lstrip()]


def _join(parts: Sequence[Weighted]) -> Section:
    """Neighbours of one weight as one text, so that a word cut by an escaped bracket is tokenized whole."""
    groups = groupby((part for part in parts if part.text), key=lambda part: part.weight)
    return tuple(Weighted("".join(part.text for part in group), weight) for weight, group in groups)
