"""Copies of what extensions are given: writing into them changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T")


def copied(value: T) -> T:
    """A copy down to tensors and arrays, through dataclasses, dicts, lists and tuples in any depth.

    Everything else is handed on as it is; what stands in several places stands there in the copy too.
    """
    found: T = _copied(value, {})
    return found


def _copied(value: Any, done: dict[int, Any]) -> Any:
    """done: what was copied already, by the id of what it is a copy of."""
    made: Any
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Tensor):
        return done.setdefault(id(value), value.clone())
    if isinstance(value, np.ndarray):
        return done.setdefault(id(value), value.copy())
    if isinstance(value, dict):
        made = done[id(value)] = copy.copy(value)
        made.update({key: _copied(part, done) for key, part in value.items()})
        return made
    if isinstance(value, list):
        made = done[id(value)] = copy.copy(value)
        made[:] = [_copied(part, done) for part in value]
        return made
    if isinstance(value, tuple):
        parts = [_copied(part, done) for part in value]
        return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
    if is_dataclass(value) and not isinstance(value, type):
        made = done[id(value)] = copy.copy(value)
        for field in fields(value):
            if hasattr(value, field.name):
                object.__setattr__(made, field.name, _copied(getattr(value, field.name), done))
        return made
    return value


class Lent:
    """The copies that one extension reads: of each thing one, made when it is first read, and made anew when another
    thing stands in its place."""

    def __init__(self) -> None:
        self._lent: dict[str, tuple[Any, Any]] = {}

    def read(self, name: str, value: T, make: Callable[[T], T] = copied) -> T:
        """The copy of what stands under a name now."""
        source, lent = self._lent.get(name, (None, None))
        if value is None or source is not value:
            lent = make(value)
            self._lent[name] = value, lent
        found: T = lent
        return found
