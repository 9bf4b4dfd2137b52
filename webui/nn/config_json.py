"""Frozen dataclasses as JSON values, and back: what `ModelConfig.to_json` and `from_json` are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def to_json(value: Any) -> Any:
    """Values of dataclasses as dicts, tuples as lists, all else as it is."""
    if is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(annotation: Any, value: Any, where: str = "") -> Any:
    """`value` as the type `annotation`; `where` is the path to it, for the error.

    ValueError names an unknown or ill-typed key.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation):
        return _dataclass_from_json(annotation, value, where)
    if origin in (Union, UnionType):
        return from_json(_branch(arguments, value), value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Literal and value in arguments:
        return value
    if annotation is float and type(value) is int:
        return float(value)
    # bool is an int to isinstance, and true is no width
    if isinstance(annotation, type) and type(value) is annotation:
        return value
    expected = " or ".join(map(repr, arguments)) if origin is Literal else getattr(annotation, "__name__", annotation)
    raise ValueError(f"config value {where or '(root)'} is {value!r}, expected {expected}")


def _branch(arguments: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that `value` is meant for."""
    if value is None and type(None) in arguments:
        return type(None)
    if isinstance(value, (list, tuple)):
        return next((a for a in arguments if get_origin(a) is tuple), arguments[0])
    return arguments[0]


def _dataclass_from_json(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"config value {where or '(root)'} is {value!r}, expected an object")
    annotations = get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in annotations:
            raise ValueError(f"unknown config key {prefix}{key}; known keys are {', '.join(annotations)}")
    return cls(**{key: from_json(annotations[key], item, f"{prefix}{key}") for key, item in value.items()})
