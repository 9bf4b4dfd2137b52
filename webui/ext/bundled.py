"""Which extensions come with the program: `bundled.json` lists their ids and the sha256 of each of their files.

A folder of the same id with other content is somebody else's, and is treated so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).parent / "bundled.json"
_TEXT: Final = {".py", ".toml", ".md", ".txt", ".json", ".js", ".css", ".html"}
_LEFT_OUT: Final = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}

Hashes = Mapping[str, str]


def read_bundled(path: Path = LIST) -> Mapping[str, Hashes]:
    """id -> path within the folder -> sha256."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write_bundled(folders: Mapping[str, Path], path: Path = LIST) -> None:
    """Rewrite the list for these folders by id."""
    found = {id: dict(file_hashes(folder)) for id, folder in sorted(folders.items())}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def is_bundled(folder: Path, listed: Hashes | None) -> bool:
    """Whether a folder holds exactly the listed files. Their names are compared first: that costs nothing."""
    if not listed or {file.relative_to(folder).as_posix() for file in _files(folder)} != set(listed):
        return False
    return file_hashes(folder) == dict(listed)


def file_hashes(folder: Path) -> Hashes:
    """Path within the folder -> sha256. Line ends of texts count as one character, as git may have changed them."""
    return {file.relative_to(folder).as_posix(): _digest(file) for file in _files(folder)}


def code_digest(folder: Path) -> str:
    """One digest of all texts of a folder: it changes with every edit of the code, whatever the version says."""
    texts = sorted(
        (file.relative_to(folder).as_posix(), _digest(file)) for file in _files(folder) if file.suffix in _TEXT
    )
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _files(folder: Path) -> Sequence[Path]:
    """All files of a folder, links too; nothing that Python or an editor leaves behind."""
    entries = (entry for entry in folder.rglob("*") if not _LEFT_OUT & set(entry.relative_to(folder).parts))
    return sorted(entry for entry in entries if (entry.is_symlink() or not entry.is_dir()) and entry.suffix != ".pyc")


def _digest(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError:
        return ""
    if file.suffix in _TEXT:
        data = data.replace(b"\r\n", b"\n")
    return hashlib.sha256(data).hexdigest()
