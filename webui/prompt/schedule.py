"""Words that change while a picture is drawn.

    [from:to:when]    `from` for the first `when` steps, `to` after them
    [to:when]         nothing at first                   [from::when]    nothing in the end
    [a|b|c]           another one at every step

`when` with a point is a share of the steps, without one a number of steps. Shares from 1 to 2 and numbers beyond the
steps of the first pass fall into the hires pass. All of it nests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from webui.prompt.brackets import TOKEN, Group, When, find_groups


@dataclass(frozen=True)
class Edit:
    """`before` up to a step, `after` from then on."""

    before: Nodes
    after: Nodes
    when: When


@dataclass(frozen=True)
class Alternate:
    """One option after another, step by step."""

    options: tuple[Nodes, ...]


Node = str | Edit | Alternate
Nodes = tuple[Node, ...]
"""A scheduled text. Strings are the prompt's own letters, with attention and escapes still in them; no two in a row."""


@dataclass(frozen=True)
class Clock:
    """The steps of a pass. before: those of the passes before it; part: how many passes these were."""

    steps: int
    before: int = 0
    part: int = 0

    def last_step(self, when: When) -> int:
        """How many steps of this pass come before the change; 0 or less: it is over."""
        value = (when.value - self.part) * self.steps if when.fraction else when.value - self.before
        return min(self.steps, int(value))


def parse_schedule(text: str) -> tuple[Nodes, tuple[str, ...]]:
    """The schedule of a text, and notes on what its writer may not have meant. Any text has one."""
    tokens = TOKEN.findall(text)
    groups = find_groups(tokens)
    nodes = _join([text]) if groups.literal or not groups.found else _build(tokens, groups.found)
    return nodes, tuple(dict.fromkeys(groups.notes))


def text_at(nodes: Nodes, step: int, clock: Clock) -> str:
    """The text that holds at a solver step, 0-based."""
    return "".join(_letters(nodes, step, clock))


def write_schedule(nodes: Nodes) -> str:
    """A schedule as it is written in a prompt; reading it gives an equal one."""
    return "".join(_write(node) for node in nodes)


def write_when(when: When) -> str:
    """The number of a change: with a point where it is a share."""
    plain = f"{Decimal(repr(when.value)):f}"
    return plain if "." in plain or not when.fraction else f"{plain}.0"


def edits(nodes: Nodes) -> Iterator[Edit]:
    """All edits of a schedule, outer ones first."""
    for node in nodes:
        if isinstance(node, Edit):
            yield node
            yield from edits((*node.before, *node.after))
        elif isinstance(node, Alternate):
            for option in node.options:
                yield from edits(option)


def _letters(nodes: Nodes, step: int, clock: Clock) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Alternate):
            yield from _letters(node.options[step % len(node.options)], step, clock)
        else:
            yield from _letters(node.before if step < clock.last_step(node.when) else node.after, step, clock)


def _write(node: Node) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, Alternate):
        return f"[{'|'.join(map(write_schedule, node.options))}]"
    before = f"{write_schedule(node.before)}:" if node.before else ""
    return f"[{before}{write_schedule(node.after)}:{write_when(node.when)}]"


class _Building:
    """A group whose tokens are being read, or the whole prompt."""

    def __init__(self, group: Group | None = None) -> None:
        self.parts: list[list[Node]] = [[]]
        self.group = group
        self._marks = iter(group.marks if group is not None else ())
        self.mark = next(self._marks, None)

    def next_part(self) -> None:
        self.parts.append([])
        self.mark = next(self._marks, None)

    def node(self, when: When | None) -> Node:
        parts = [_join(part) for part in self.parts]
        if when is None:
            return Alternate(tuple(parts))
        *before, after, _number = parts
        return Edit(before[0] if before else (), after, when)


def _build(tokens: Sequence[str], groups: dict[int, Group]) -> Nodes:
    stack = [_Building()]
    for index, token in enumerate(tokens):
        top = stack[-1]
        if index in groups:
            stack.append(_Building(groups[index]))
        elif top.group is not None and index == top.group.close:
            stack.pop()
            stack[-1].parts[-1].append(top.node(top.group.when))
        elif index == top.mark:
            top.next_part()
        else:
            top.parts[-1].append(token)
    return _join(stack[0].parts[0])


def _join(nodes: Sequence[Node]) -> Nodes:
    """The nodes with strings in a row made one."""
    joined: list[Node] = []
    for letters, run in groupby(nodes, key=lambda node: isinstance(node, str)):
        found = list(run)
        joined += ["".join(map(str, found))] if letters else found
    return tuple(node for node in joined if node != "")
