"""Prompts with choices, made whole before anything else in them is read.

    {red|green|blue}              one of them             {2$$red|green|blue}     two different ones, "green, red"
    {2$$ and $$red|green|blue}    two, joined by " and "  {1-3$$red|green|blue}   one to three
    {3::red|green}                red three times as often
    __colours__                   a line of the wildcard file of that name; {2$$__colours__} two of its lines

Choices nest, and the lines of a file may hold more of them. Braces without a bar or `$$` are letters, as are `\\{` and
`\\_`. A bar inside square brackets is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from random import Random

from webui.schema.errors import BadRequest

Lookup = Callable[[str], Sequence[str]]
"""The lines of a wildcard file by its name. Raises an AtelierError where there is none of that name."""

LONGEST = 20_000
MOST_CHOICES = 2000
DEEPEST = 32

_NAME = r"[^\W_](?:[\w./ -]{0,100}?[^\W_])?"
_TOKEN = re.compile(rf"\\.|[{{}}|\[\]]|__{_NAME}__|[^\\{{}}|\[\]_]++|_|\\", re.DOTALL)
_HEAD = re.compile(r"\s*+([0-9]{1,3})(?:-([0-9]{1,3}))?\$\$(?:([^$]*+)\$\$)?")
_SHARE = re.compile(r"\s*+([0-9]{1,6}(?:\.[0-9]{0,6})?)::")


@dataclass(frozen=True)
class Wild:
    """`__name__`."""

    name: str


@dataclass(frozen=True)
class Choice:
    """`{fewest-most$$joiner$$a|b}`: options with their shares."""

    options: tuple[tuple[float, Template], ...]
    fewest: int = 1
    most: int = 1
    joiner: str = ", "


Template = tuple["str | Wild | Choice", ...]


def has_choices(text: str) -> bool:
    """Whether a text says another thing than its letters."""
    return any(not isinstance(node, str) for node in read_template(text))


def written_names(text: str) -> tuple[str, ...]:
    """The wildcard files that a text names, in choices within choices too."""
    return tuple(dict.fromkeys(_names(read_template(text))))


def expand(text: str, lookup: Lookup, seed: str | int) -> str:
    """The text with its choices made, always the same ones for a seed.

    Raises:
        BadRequest: files name each other in a circle, or the text grows beyond what a prompt may hold; and what
            `lookup` raises.
    """
    return _Expansion(lookup, Random(seed)).text(read_template(text))


def read_template(text: str) -> Template:
    """The choices in a text. Any text is one, in linear time."""
    tokens = _TOKEN.findall(text)
    groups = _groups(tokens)
    stack = [_Reading(len(tokens), frozenset())]
    for index, token in enumerate(tokens):
        top = stack[-1]
        if index in groups:
            close, bars = groups[index]
            stack.append(_Reading(close, frozenset(bars)))
        elif index == top.close:
            stack.pop()
            stack[-1].options[-1].append(_choice([_joined(option) for option in top.options]))
        elif index in top.bars:
            top.options.append([])
        else:
            top.options[-1].append(Wild(token[2:-2]) if token.startswith("__") else token)
    return _joined(stack[0].options[0])


def _names(template: Template) -> Iterator[str]:
    for node in template:
        if isinstance(node, Wild):
            yield node.name
        elif isinstance(node, Choice):
            for _, option in node.options:
                yield from _names(option)


@dataclass
class _Reading:
    close: int
    bars: frozenset[int]
    options: list[list[str | Wild | Choice]] = field(default_factory=lambda: [[]])


@dataclass
class _Brace:
    index: int
    kind: str
    bars: list[int] = field(default_factory=list)
    counted: bool = False
    depth: int = 0


def _groups(tokens: Sequence[str]) -> dict[int, tuple[int, list[int]]]:
    """Braces that are choices, by the index of the opening one: the closing one, and the bars."""
    found: dict[int, tuple[int, list[int]]] = {}
    stack: list[_Brace] = []
    braces = 0
    for index, token in enumerate(tokens):
        if token in ("{", "["):
            stack.append(_Brace(index, token))
            braces += token == "{"
        elif token == "|" and stack:
            stack[-1].bars.append(index)
        elif token == "]" and stack and stack[-1].kind == "[":
            inner = stack.pop()
            if stack:
                stack[-1].depth = max(stack[-1].depth, inner.depth)
        elif token == "}" and braces:
            brace = _innermost(stack)
            braces -= 1
            choice = brace.bars or _HEAD.match("".join(tokens[brace.index + 1 : brace.index + 3]))
            depth = brace.depth + bool(choice)
            if choice and depth <= DEEPEST:
                found[brace.index] = index, brace.bars
            if stack:
                stack[-1].depth = max(stack[-1].depth, min(depth, DEEPEST))
    return found


def _innermost(stack: list[_Brace]) -> _Brace:
    """Take the innermost brace off, with the bars of square brackets in it that nobody closed."""
    while (inner := stack.pop()).kind == "[":
        stack[-1].bars += inner.bars
        stack[-1].depth = max(stack[-1].depth, inner.depth)
    return inner


def _joined(nodes: Sequence[str | Wild | Choice]) -> Template:
    """The nodes with strings in a row made one."""
    joined: list[str | Wild | Choice] = []
    for letters, run in groupby(nodes, key=lambda node: isinstance(node, str)):
        found = list(run)
        joined += ["".join(map(str, found))] if letters else found
    return tuple(joined)


def _choice(options: list[Template]) -> Choice:
    head = _HEAD.match(options[0][0]) if options[0] and isinstance(options[0][0], str) else None
    made = Choice(())
    if head is not None:
        fewest = int(head[1])
        most = max(fewest, int(head[2] or fewest))
        made = replace(made, fewest=fewest, most=most, joiner=", " if head[3] is None else head[3])
        options[0] = _without(options[0], head.end())
    return replace(made, options=tuple(_shared(option) for option in options))


def _shared(option: Template) -> tuple[float, Template]:
    match = _SHARE.match(option[0]) if option and isinstance(option[0], str) else None
    return (1.0, option) if match is None else (float(match[1]), _without(option, match.end()))


def _without(option: Template, letters: int) -> Template:
    """The option without its first letters."""
    first, *others = option
    assert isinstance(first, str)
    return (first[letters:], *others) if first[letters:] else tuple(others)


class _Expansion:
    """One text being expanded, with its stream of random numbers."""

    def __init__(self, lookup: Lookup, random: Random) -> None:
        self._lookup = lookup
        self._random = random
        self._made = 0

    def text(self, template: Template, within: tuple[str, ...] = ()) -> str:
        """within: the files whose lines are being expanded."""
        text = "".join(node if isinstance(node, str) else self._node(node, within) for node in template)
        if len(text) > LONGEST:
            raise BadRequest(
                f"With its wildcards the prompt is longer than {LONGEST} characters.", "Use fewer or shorter ones."
            )
        return text

    def _node(self, node: Wild | Choice, within: tuple[str, ...]) -> str:
        self._made += 1
        if self._made > MOST_CHOICES:
            raise BadRequest(
                f"The prompt needs more than {MOST_CHOICES} choices.", "Do wildcard files name each other many times?"
            )
        if isinstance(node, Wild):
            return self._line(node, self._pick([1.0] * len(self._lines(node, within))), within)
        single = node.options[0][1] if len(node.options) == 1 else ()
        if len(single) == 1 and isinstance(single[0], Wild):
            wild = single[0]
            picked = self._several(node, [1.0] * len(self._lines(wild, within)))
            return node.joiner.join(self._line(wild, index, within) for index in picked)
        picked = self._several(node, [share for share, _ in node.options])
        return node.joiner.join(self.text(node.options[index][1], within) for index in picked)

    def _lines(self, wild: Wild, within: tuple[str, ...]) -> Sequence[str]:
        if wild.name in within:
            raise BadRequest(
                f"The wildcard file {wild.name} comes back to itself by way of {' and '.join(within)}.",
                "Take the wildcard out of one of these files.",
            )
        if len(within) >= DEEPEST:
            raise BadRequest(
                f"Wildcard files name each other more than {DEEPEST} deep, from {within[0]} on.", "Name fewer in a row."
            )
        lines = self._lookup(wild.name)
        if not lines:
            raise BadRequest(f"The wildcard file {wild.name} has no lines.", "Write one choice into each line.")
        return lines

    def _line(self, wild: Wild, index: int, within: tuple[str, ...]) -> str:
        return self.text(read_template(self._lookup(wild.name)[index]), (*within, wild.name))

    def _several(self, choice: Choice, shares: list[float]) -> list[int]:
        """Which options are taken: different ones, as many as asked for and there are."""
        count = choice.fewest + int(self._random.random() * (choice.most - choice.fewest + 1))
        left = list(range(len(shares)))
        return [left.pop(self._pick([shares[index] for index in left])) for _ in range(min(count, len(shares)))]

    def _pick(self, shares: Sequence[float]) -> int:
        """An index, by the shares; the last one where all are 0."""
        point = self._random.random() * sum(shares)
        for index, share in enumerate(shares):
            point -= share
            if point < 0:
                return index
        return len(shares) - 1
