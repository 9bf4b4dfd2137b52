"""What is wrong with a request, in words for its sender."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError


def describe_validation(error: ValidationError, model: type[BaseModel]) -> str:
    """One readable sentence for each field that broke its declaration."""
    return "; ".join(_describe_one(item, model) for item in error.errors(include_url=False, include_context=False))


def _describe_one(item: Any, model: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    field = model.model_fields.get(str(item["loc"][0])) if item["loc"] else None
    label = field.title if field is not None and field.title else name
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"unknown field {name!r}"
    given = item.get("input")
    short = isinstance(given, (int, float)) or (isinstance(given, str) and len(given) < 60)
    seen = f" (got {given!r})" if short else ""
    return f"{label}: {message}{seen}" if label else message
