"""Styles: prompts that are kept under a name and laid over others, as in A1111's `styles.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.prompt.prompt_files import PromptFiles
from webui.schema.errors import BadRequest, NotFound

LARGEST_FILE = 16_000_000

_PLACE = "{prompt}"


@dataclass(frozen=True)
class Style:
    """A kept prompt. `{prompt}` in it stands for the prompt it is laid over; without that it follows it."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


class Styles:
    """The styles of a server, in files of A1111's form; of two with one name, that of the first file counts."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)

    @classmethod
    def beside(cls, where: Path | PromptFiles) -> Styles:
        """Those beside a folder of models and in it, or those of all places."""
        return cls(PromptFiles.of(where).styles)

    def all(self) -> dict[str, Style]:
        """All of them by name, read anew.

        Raises:
            BadRequest: a file cannot be read.
        """
        found: dict[str, Style] = {}
        for path in self.files:
            found |= {name: style for name, style in _read(path).items() if name not in found}
        return found

    def having(self, name: str) -> list[Path]:
        """The files that have a style of this name. Raises BadRequest where one cannot be read."""
        return [path for path in self.files if name in _read(path)]

    def named(self, names: Iterable[str]) -> tuple[Style, ...]:
        """The styles of these names, in their order.

        Raises:
            NotFound: there is none of a name. BadRequest: a file cannot be read.
        """
        known = self.all()
        for name in names:
            if name not in known:
                some = ", ".join(list(known)[:10]) or "none: put A1111's styles.csv beside the folder models"
                raise NotFound(f"There is no style {name[:60]!r}.", f"Known styles: {some}.")
        return tuple(known[name] for name in names)


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


def write_names(names: Iterable[str]) -> str:
    """Names as one line that `read_names` reads: "Ink, Fine"; names with commas or quotes are quoted as in CSV."""
    return ", ".join(_quoted(name) for name in names)


def read_names(text: str) -> tuple[str, ...]:
    """The names in one line. Any text has some, or none."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error:
        return (text.strip(),)
    return tuple(name for row in rows for text in row if (name := text.strip()))


def decoded(data: bytes) -> str:
    """The bytes of a file as its text, lines ending in "\n"."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


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


def _quoted(name: str) -> str:
    special = any(mark in name for mark in ',"\r\n')
    return '"' + name.replace('"', '""') + '"' if special else name


def _read(path: Path) -> dict[str, Style]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadRequest(f"{path.name} is over {LARGEST_FILE // 10**6} MB.", "Take styles out of it.")
        return read_styles(decoded(path.read_bytes()))
    except OSError as error:
        raise BadRequest(f"{path.name} cannot be read: {error.strerror}.", "Look at the file.") from None


def _style(row: Mapping[str, str | None]) -> Style:
    name, prompt, old, negative = (row.get(column) or "" for column in ("name", "prompt", "text", "negative_prompt"))
    return Style(name.strip(), prompt or old, negative)
