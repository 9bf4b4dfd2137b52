"""What a file is called that another machine sends: never a path, and a name that every system takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

LETTERS: Final = 120
BYTES: Final = 150
"""Of a name without its ending. File systems take 255 bytes, and files beside a model have longer endings."""
_RESERVED: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\s*(?:\.|$)", re.IGNORECASE)
"""Names of devices on Windows, whatever their ending."""


def name_of(headers: Mapping[str, str], url: str) -> str:
    """What a server calls a file: the name in its headers, else the last part of the address. It is no path."""
    said = headers.get("Content-Disposition") or ""
    coded = re.search(r"filename\*\s*=\s*[\w-]*'[^']*'([^;\s]+)", said, re.IGNORECASE)
    plain = re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', said, re.IGNORECASE)
    if coded:
        found = unquote(coded[1])
    elif plain:
        found = plain[1] if plain[1] is not None else plain[2]
        with_bytes = found.encode("latin-1", "ignore")  # what browsers are sent is often UTF-8
        found = with_bytes.decode("utf-8", "ignore") or found
    else:
        found = unquote(urlsplit(url).path)
    return plain_name(found)


def plain_name(text: str) -> str:
    """A file's name that every system takes, of whatever a server sent; "" where nothing is left of it."""
    last = re.split(r"[/\\]", text)[-1]
    clean = "".join(sign if sign.isprintable() and sign not in '<>:"|?*' else "_" for sign in last).strip(" .")
    if _RESERVED.match(clean):
        clean = f"_{clean}"
    stem, dot, ending = clean.rpartition(".")
    return f"{_cut(stem)}{dot}{ending[:20]}" if dot else _cut(clean)


def _cut(text: str) -> str:
    """As much as a name may have beside its ending."""
    return text[:LETTERS].encode()[:BYTES].decode(errors="ignore")
