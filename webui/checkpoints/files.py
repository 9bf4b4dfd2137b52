"""Model files in a folder, and how a change of one is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from webui.checkpoints.header import PICKLES

Stamp = tuple[int, int, int]
"""Modification time in nanoseconds, size in bytes, and modification time of the JSON file beside it (0: none)."""


def walk(root: Path, deep: bool) -> Iterator[Path]:
    """Files of a folder and, where `deep`, below it; links are followed, and no folder is read twice."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep and real not in seen else []
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
    """What changes when the file, or the JSON file beside it, does. Raises OSError."""
    status = path.stat()
    try:
        beside = path.with_suffix(".json").stat().st_mtime_ns
    except OSError:
        beside = 0
    return status.st_mtime_ns, status.st_size, beside
