"""A parameter is declared once: the page, REST, the command line and the PNG text are drawn from the declaration."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

Group = Literal[
    "prompt", "sampling", "size", "batch", "guidance", "seed", "image", "mask", "hires", "refiner", "advanced",
    "control",
]  # fmt: skip


Offers = Literal["models", "refiners", "vaes", "styles"]
"""Choices that are not declared but found: the checkpoints of this server, its VAE files, its styles."""


@dataclass(frozen=True)
class Parameter:
    """What a face needs to know of one field of a request. A field of type tuple has several texts."""

    name: str
    title: str
    help: str
    type: type
    optional: bool
    default: Any
    minimum: float | None
    maximum: float | None
    step: float | None
    choices: tuple[str, ...] | None
    infotext: str | None
    group: Group
    offers: Offers | None = None


def parameter(
    default: Any,
    *,
    title: str,
    help: str,
    group: Group,
    infotext: str | None = None,
    step: float | None = None,
    choices: tuple[str, ...] | None = None,
    offers: Offers | None = None,
    **bounds: Any,
) -> Any:
    """A pydantic field that also carries its label, its slider step, its choices and its name in the PNG text."""
    extra: dict[str, Any] = {"group": group, "infotext": infotext, "step": step, "choices": choices, "offers": offers}
    return Field(default, title=title, description=help, json_schema_extra=extra, **bounds)


def parameters(model: type[BaseModel]) -> tuple[Parameter, ...]:
    """The declared parameters of a request class, in the order of their declaration."""
    found = ((name, field) for name, field in model.model_fields.items() if _extra(field))
    return tuple(_describe(name, field) for name, field in found)


def _extra(field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) and "group" in extra else {}


def _describe(name: str, field: Any) -> Parameter:
    kind, optional = _plain_type(field.annotation)
    extra = _extra(field)
    return Parameter(
        name=name,
        title=field.title,
        help=field.description,
        type=kind,
        optional=optional,
        default=field.get_default(),
        minimum=_bound(field, "ge"),
        maximum=_bound(field, "le"),
        step=extra["step"],
        choices=extra["choices"],
        infotext=extra["infotext"],
        group=extra["group"],
        offers=extra["offers"],
    )


def _plain_type(annotation: Any) -> tuple[type, bool]:
    """`int | None` is (int, True); `Literal["a", "b"]` is (str, False), `tuple[str, ...]` (tuple, False)."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        (kind,) = (arg for arg in typing.get_args(annotation) if arg is not type(None))
        return _plain_type(kind)[0], True
    if typing.get_origin(annotation) is Literal:
        return str, False
    return typing.get_origin(annotation) or annotation, False


def _bound(field: Any, name: str) -> float | None:
    return next((getattr(rule, name) for rule in field.metadata if hasattr(rule, name)), None)
