"""Styles: prompts that are kept under a name and laid over others, as in A1111's `styles.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webui.schema.errors import BadRequest

_PLACE = "{prompt}"


@dataclass(frozen=True)
class Style:
    """A kept prompt. `{prompt}` in it stands for the prompt it is laid over; without that it follows it."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


def laid_over(prompt: str, style: str) -> str:
    """The prompt with one text of a style."""
    if _PLACE in style:
        return style.replace(_PLACE, prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


def with_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str]:
    """Prompt and negative prompt with all these styles, the first one innermost; as they are where there is none."""
    for style in styles:
        prompt = laid_over(prompt, style.prompt)
        negative_prompt = laid_over(negative_prompt, style.negative_prompt)
    return prompt, negative_prompt


def read_styles(text: str) -> dict[str, Style]:
    """The styles of a CSV file with the columns name, prompt and negative_prompt (text, in old files), by name.

    Rows without a name, and those whose name begins with "#", are left out; of two with one name the last counts.

    Raises:
        BadRequest: the text is no CSV.
    """
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restkey="", restval="")
    try:
        styles = [_style(row) for row in rows]
    except csv.Error as error:
        raise BadRequest(f"The file of styles cannot be read: {error}.", "Open and save it as CSV in UTF-8.") from None
    return {style.name: style for style in styles if style.name and not style.name.startswith("#")}


def _style(row: Mapping[str, str | None]) -> Style:
    name, prompt, old, negative = (row.get(column) or "" for column in ("name", "prompt", "text", "negative_prompt"))
    return Style(name.strip(), prompt or old, negative)
