"""`key: value, key: value`: the form in which A1111 writes the last line of a picture's text, and lists within it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# A key is a whole run of word characters, spaces, - and /: possessive, so that a long line takes linear time.
_PAIR = re.compile(r'(?<![\w \-/])[ \-/]*+(\w[\w \-/]++):\s*+("(?:\\.|[^\\"])++"|[^,]*+)(?:,|$)')


def write_pairs(fields: Mapping[str, Any]) -> str:
    """None left out; values that would be read as something else are quoted as JSON."""
    return ", ".join(_pair(label, value) for label, value in fields.items() if value is not None)


def read_pairs(line: str) -> list[tuple[str, str]]:
    """Every pair of a line, its value unquoted."""
    return [(found[1], _unquote(found[2])) for found in _PAIR.finditer(line)]


def plain_number(value: float) -> str:
    """7.0 -> "7", 0.75 -> "0.75": every digit that tells the number from its neighbours, no more."""
    return repr(value).removesuffix(".0")


def _pair(label: str, value: Any) -> str:
    text = plain_number(value) if isinstance(value, float) else str(value)
    unsafe = any(mark in text for mark in ",:\n") or text.startswith('"') or text != text.strip()
    return f"{label}: {json.dumps(text, ensure_ascii=False) if unsafe else text}"


def _unquote(value: str) -> str:
    if len(value) < 2 or not (value[0] == value[-1] == '"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
