"""JSON that other programs wrote, as values that may be kept and sent on: finite numbers, and text that is text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

LARGEST: Final = 4_000_000
"""Bytes of a file beside a model; A1111's and Civitai's have a few thousand."""


def parsed(text: str | bytes) -> Any:
    """What a JSON text says. Numbers that JSON does not have (NaN, Infinity) and those that are no 64 bits long become
    None, halves of a letter (lone surrogates) a mark of replacement.

    Raises:
        ValueError, RecursionError: it is no JSON, or nested too deep.
    """
    return _plain(json.loads(text))


def object_in(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none that can be read."""
    try:
        if path.stat().st_size > LARGEST:
            return {}
        data = parsed(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if isinstance(value, int) and abs(value) >= 2**63 else value
