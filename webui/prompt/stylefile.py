"""Files of styles, changed row by row: what is not changed stays byte for byte as it is, for other programs share them.

Whatever comes of a change is read back before it is handed out: a file that would say anything else than it did before,
but for the one style, is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webui.prompt.styles import Style, decoded, read_styles
from webui.schema.errors import BadRequest
from webui.schema.generation import MAX_PROMPT, MAX_STYLE_NAME

NEW = "\ufeff".encode() + b"name,prompt,negative_prompt\r\n"
"""A file without styles, as A1111 begins one."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_FORMULA = tuple("=+-@")
"""What a spreadsheet takes for the beginning of a formula."""


@dataclass(frozen=True)
class _Row:
    """Lines of the file, and the cells that they hold."""

    raw: str
    cells: tuple[str, ...]


def checked(style: Style) -> Style:
    """The style as it may be written.

    Raises:
        BadRequest: it has no name, or one that could not be read back or would be computed by a spreadsheet; a text is
            too long or holds what is no letter.
    """
    name = style.name.strip()
    if not name:
        raise BadRequest("The style has no name.", "Give it one.")
    if len(name) > MAX_STYLE_NAME:
        raise BadRequest(f"The name has {len(name)} letters; the most are {MAX_STYLE_NAME}.", "Make it shorter.")
    if name.startswith(("#", *_FORMULA)) or _CONTROL.search(name) or not _is_unicode(name):
        raise BadRequest(
            f"{name[:60]!r} cannot be the name of a style.", "Use one line that does not begin with # = + - or @."
        )
    return Style(name, _text(style.prompt), _text(style.negative_prompt))


def with_style(data: bytes, style: Style) -> bytes:
    """A file with a style in the place of the one of its name, or behind all others.

    Raises:
        BadRequest: it is no file of styles, or could not be read back.
    """
    mark, rows, ending = _rows(data or NEW)
    header = rows[0].cells
    row = next((row for row in reversed(rows[1:]) if _name(row, header) == style.name), None)
    if style.negative_prompt and "negative_prompt" not in header:
        header = (*header, "negative_prompt")
        rows[0] = _Row(_line(header, ending), header)
    made = _Row(_line(_cells(row, header, style), ending), ())
    if row is None:
        rows[-1] = _ended(rows[-1], ending)
        rows.append(made)
    else:
        rows = [made if one is row else one for one in rows]
    return _proved(data, mark, rows, {**_styles(data), style.name: style})


def without_style(data: bytes, name: str) -> bytes:
    """A file without the styles of a name. Raises BadRequest as `with_style`."""
    mark, rows, _ = _rows(data)
    left = [rows[0], *(row for row in rows[1:] if _name(row, rows[0].cells) != name)]
    return _proved(data, mark, left, {one: style for one, style in _styles(data).items() if one != name})


def _text(text: str) -> str:
    """A prompt on its way into a cell. What a spreadsheet would compute begins with a space, which says nothing to a
    model."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > MAX_PROMPT:
        raise BadRequest(f"A prompt has {len(text)} letters; the most are {MAX_PROMPT}.", "Make it shorter.")
    if _CONTROL.search(text.replace("\n", "").replace("\t", "")) or not _is_unicode(text):
        raise BadRequest("A prompt of the style holds characters that are no letters.", "Take them out.")
    return f" {text}" if text.startswith((*_FORMULA, "\t")) else text


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _rows(data: bytes) -> tuple[str, list[_Row], str]:
    """(byte order mark or nothing, the rows from the header on, how lines end). What is no UTF-8 stays what it is."""
    text = data.decode("utf-8", "surrogateescape")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = list(io.StringIO(text.removeprefix(mark), newline=""))
    reader, rows, begin = csv.reader(lines), list[_Row](), 0
    try:
        for cells in reader:
            rows.append(_Row("".join(lines[begin : reader.line_num]), tuple(cells)))
            begin = reader.line_num
    except csv.Error as error:
        raise BadRequest(f"The file of styles cannot be read: {error}.", "Open and save it as CSV in UTF-8.") from None
    if not rows or "name" not in rows[0].cells or not {"prompt", "text"} & {*rows[0].cells}:
        raise BadRequest("The file of styles has no columns name and prompt.", "Write them into its first line.")
    return mark, rows, "\r\n" if rows[0].raw.endswith("\r\n") else "\n"


def _name(row: _Row, header: Sequence[str]) -> str:
    place = header.index("name")
    return row.cells[place].strip() if len(row.cells) > place else ""


def _cells(row: _Row | None, header: Sequence[str], style: Style) -> list[str]:
    """The cells of a row for a style; columns that say nothing of it keep what they have."""
    before = list(row.cells) if row is not None else []
    cells = before + [""] * (len(header) - len(before))
    told = {"name": style.name, "prompt": style.prompt, "text": style.prompt, "negative_prompt": style.negative_prompt}
    if "prompt" in header:
        told["text"] = ""  # it would count where the prompt is empty
    for place, column in enumerate(header):
        cells[place] = told.get(column, cells[place])
    return cells


def _line(cells: Sequence[str], ending: str) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator=ending).writerow(cells)
    return line.getvalue()


def _ended(row: _Row, ending: str) -> _Row:
    return row if row.raw.endswith(("\n", "\r")) else _Row(row.raw + ending, row.cells)


def _styles(data: bytes) -> dict[str, Style]:
    return read_styles(decoded(data))


def _proved(data: bytes, mark: str, rows: Sequence[_Row], wanted: Mapping[str, Style]) -> bytes:
    changed = (mark + "".join(row.raw for row in rows)).encode("utf-8", "surrogateescape")
    if _styles(changed) != wanted:
        raise BadRequest(
            "The file of styles cannot be changed without harm to other styles in it: a quote may not be closed.",
            "Open and save it as CSV in UTF-8 with another program.",
        )
    return changed
