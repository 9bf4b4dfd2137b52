"""Whether a disk has room for what is to come."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from webui.schema.errors import DiskError

SPARE: Final = 200 * 2**20
"""Bytes that stay free on the disk."""


def check_room(name: str, folder: Path, needed: int) -> None:
    """Raises DiskError where a folder's disk has no room for so many bytes."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise DiskError(f"{name} needs {needed / 1e6:,.0f} MB, free are {free / 1e6:,.0f} MB.")


def check_spare(name: str, folder: Path) -> None:
    """Raises DiskError where a file, of which nobody knows how long it is, would fill a folder's disk."""
    free = shutil.disk_usage(folder).free
    if free < SPARE:
        raise DiskError(f"There is no room for {name}, whose size is not told: free are {free / 1e6:,.0f} MB.")
