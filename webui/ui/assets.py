"""The page's own files: a style sheet, scripts and fragments of HTML, all under `static/`, sent inside the page."""

from __future__ import annotations

import html
import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
# In the order in which they need each other.
SCRIPTS = (
    "core", "form", "fields", "jobs", "progress", "result", "viewer", "gallery", "models", "status", "prompt",
    "tokens", "book", "knobs", "zones", "dialog", "paint", "pose", "poseview", "posedrag", "posechange", "poseedit",
    "needs", "unitpose", "unit", "units", "reports", "extras", "extensions", "card",
    "cardinfo", "downloads", "cards", "memory", "page",
)  # fmt: skip
STYLES = ("page", "control", "book", "cards")


def head() -> str:
    """The style sheet and the scripts for the page's <head>. Inline: no request can fail, no cache can be stale."""
    styles = "".join(_read(f"{name}.css") for name in STYLES)
    return f"<style>{styles}</style>\n<script>{''.join(_read(f'{name}.js') for name in SCRIPTS)}</script>"


def fragment(name: str, values: Mapping[str, str] | None = None) -> str:
    """A piece of HTML; `$name` in it becomes the escaped value."""
    escaped = {key: html.escape(value, quote=True) for key, value in (values or {}).items()}
    return string.Template(_read(name)).safe_substitute(escaped)


@cache
def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
