"""A file that one process at a time may hold, however that process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

PAUSE: Final = 0.2
"""Seconds between two tries to get the file."""


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the file for the block; it is gone afterwards. While another process or thread holds it, `waiting` is called
    again and again: what it raises ends the waiting.

    Raises:
        OSError: the file cannot be made.
    """
    while (file := _held(path)) is None:
        waiting()
        time.sleep(PAUSE)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows deletes no file that somebody else has open
            path.unlink()
        file.close()


def take(handle: int) -> None:
    """Take an open file for this process alone, or raise OSError at once. Closing it gives it up."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _held(path: Path) -> IO[bytes] | None:
    """The file, taken; None while somebody else has it, or has just deleted it."""
    file = open(path, "ab")  # noqa: SIM115  held open: closing it gives the lock up
    try:
        take(file.fileno())
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        return file  # a file system without locks: better unprotected than never
    try:
        same = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        same = False
    if not same:
        file.close()
    return file if same else None
