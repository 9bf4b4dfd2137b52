"""Copies down to tensors and arrays, and what is lent to one reader."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from webui.control.copies import Lent, copied

Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Thing:
    """Fields of many kinds. made: set by no argument."""

    x: torch.Tensor
    parts: Any = None
    made: int = field(init=False, default=3)


def test_a_copy_goes_down_to_tensors_and_arrays() -> None:
    given = Thing(torch.ones(2), {"a": [np.ones(2), (torch.ones(1), "word")], "b": Pair(Thing(torch.ones(1)), None)})
    found = copied(given)
    given.x.zero_()
    given.parts["a"][0][:] = 0
    given.parts["a"][1][0].zero_()
    given.parts["b"].left.x.zero_()
    given.parts["a"].append(1)
    assert found.x.tolist() == [1, 1]
    assert found.parts["a"][0].tolist() == [1, 1]
    assert found.parts["a"][1] == (torch.ones(1), "word")
    assert (found.parts["b"].left.x.tolist(), found.parts["b"].right, len(found.parts["a"])) == ([1], None, 2)
    assert (found.made, type(found.parts["b"])) == (3, Pair)


def test_what_stands_in_two_places_does_so_in_the_copy() -> None:
    x = torch.ones(1)
    circle: list[Any] = [x, x]
    circle.append(circle)
    found = copied(circle)
    assert found[0] is found[1] is not x
    assert found[2] is found


def test_everything_else_is_handed_on() -> None:
    module = torch.nn.Linear(1, 1)
    assert copied([module])[0] is module
    assert copied(Thing) is Thing


def test_one_copy_is_lent_until_something_else_stands_there() -> None:
    lent, x = Lent(), torch.ones(2)
    first = lent.read("x", x)
    assert first is lent.read("x", x) is not x
    assert first is not lent.read("y", x)
    first.zero_()
    y = torch.full((2,), 5.0)
    assert lent.read("x", y).tolist() == [5, 5]
    assert lent.read("x", x).tolist() == [1, 1]
    assert lent.read("x", None) is None
