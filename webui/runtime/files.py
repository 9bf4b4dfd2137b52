"""Files that are whole or not there, and what is left behind by a process that was killed while it wrote one."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

STILL_WRITTEN = 60.0


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that only this user may read, through a temporary one beside it (`.tmp`), synced before it takes
    the name. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def remove_leftovers(folder: Path, pattern: str = ".*.tmp") -> None:
    """Remove temporary files that match below this folder; those of the last minute may be another server's."""
    for leftover in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STILL_WRITTEN:
                leftover.unlink()
