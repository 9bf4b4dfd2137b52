"""Model files in a folder, and how a change of one is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from webui.checkpoints.folder import PARTS
from webui.checkpoints.header import PICKLES
from webui.checkpoints.notes import beside

Stamp = tuple[int, int, int, int]
"""Modification time in nanoseconds, size in bytes, modification times of the JSON and YAML files beside it (0: none).

Of a folder: the last of the times of its files and of its parts' files, and the size of the weights among them.
"""


def walk(root: Path, deep: bool, index: str = "") -> Iterator[Path]:
    """Files of a folder and, where `deep`, below it; links are followed, and no folder is read twice.

    Of a folder with a file named `index`, other than `root`, that file alone.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep and real not in seen else []
        if index in files and Path(folder) != root:
            folders[:], files = [], [index]
        if real not in seen:
            yield from (Path(folder, name) for name in sorted(files))
        seen.add(real)


def is_model_file(path: Path) -> bool:
    """Whether a file is listed: a pickle only as long as it is not converted."""
    if path.name.startswith(".") or path.stem.lower().endswith(".vae"):  # X.vae.safetensors: a VAE, not a checkpoint
        return False
    ending = path.suffix.lower()
    return ending == ".safetensors" or (ending in PICKLES and not path.with_suffix(".safetensors").exists())


def stamp_of(path: Path) -> Stamp:
    """What changes when the checkpoint, or what stands beside it, does. Raises OSError."""
    time, size = _folder_stamp(path) if path.is_dir() else (path.stat().st_mtime_ns, path.stat().st_size)
    return time, size, _time(beside(path, ".json")), _time(beside(path, ".yaml"))


def _folder_stamp(path: Path) -> tuple[int, int]:
    parts = [part for part in (path, *(path / name for name in PARTS)) if part.is_dir()]
    files = [(entry.name, entry.stat()) for part in parts for entry in os.scandir(part) if entry.is_file()]
    size = sum(status.st_size for name, status in files if name.endswith(".safetensors"))
    return max(status.st_mtime_ns for _, status in files), size


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
