"""What lies in folders, remembered: a folder is read anew when it has changed, or after a while."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.header import PICKLES

log = logging.getLogger(__name__)
GGUF = ".gguf"
WEIGHTS = (".safetensors", *PICKLES, GGUF)
_READ = (*WEIGHTS, ".json", ".yaml")
"""Endings of the files that are looked at: weights, and what stands beside them."""

SOON = 2.0
"""Seconds. So long a file that was written to in its place, which its folder does not tell, may go unseen in a list."""
NOW, ANY_AGE = 0.0, float("inf")
_SETTLED = 2_000_000_000
"""Nanoseconds: the coarsest times of files there are (FAT). A folder that changed so shortly before it was read may
change again without another time."""
_GONE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True)
class Folder:
    """A folder as it was when it was read. id: device and inode; files: name -> modification time in nanoseconds and
    size in bytes; folders: names, sorted. Hidden ones are left out, and those whose names are no text."""

    path: str
    id: tuple[int, int]
    files: dict[str, tuple[int, int]]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    folder: Folder
    time: int
    settled: bool
    looked: float


class Disk:
    """Folders that were read, for all who list files of one process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._missing: dict[str, float] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def folder(self, path: str, age: float = NOW) -> Folder | None:
        """What lies in a folder; the same object as before where nothing has changed. None: it is not there, or cannot
        be read, which is told once.

        age: seconds that a look may be old. A file that comes or goes is seen at once whatever the age; but that a
        folder is missing is believed for a while at `ANY_AGE`.
        """
        with self._lock:
            now = time.monotonic()
            if age == ANY_AGE and now - self._missing.get(path, -ANY_AGE) < SOON:
                return None
            try:
                found = self._look(path, age, now)
            except OSError as error:
                self._lost(path, now, error)
                return None
            self._missing.pop(path, None)
            return found

    def walk(self, root: Path, deep: bool, age: float = NOW, index: str = "") -> Iterator[Folder]:
        """A folder and, where `deep`, those below it, sorted; links are followed, and none is read twice. Where one
        below it holds a file named `index`, what lies in that one is passed over; such folders belong to one that is
        not deep too."""
        seen: set[tuple[int, int]] = set()
        waiting = [os.path.abspath(root)]
        while waiting:
            path = waiting.pop()
            folder = self.folder(path, age)
            if folder is None or folder.id in seen:
                continue
            whole = not index or index not in folder.files or not seen
            seen.add(folder.id)
            yield folder
            if whole:
                below = (os.path.join(path, name) for name in reversed(folder.folders))
                waiting += [one for one in below if deep or (index and os.path.isfile(os.path.join(one, index)))]

    def _look(self, path: str, age: float, now: float) -> Folder:
        status = os.stat(path)
        seen = self._seen.get(path)
        if seen and seen.settled and seen.time == status.st_mtime_ns and now - seen.looked <= age:
            return seen.folder
        begun = time.time_ns()
        folder = _read(path, (status.st_dev, status.st_ino))
        if seen and seen.folder == folder:
            folder = seen.folder
        self._seen[path] = _Seen(folder, status.st_mtime_ns, begun - status.st_mtime_ns > _SETTLED, now)
        return folder

    def _lost(self, path: str, now: float, error: OSError) -> None:
        self._missing[path] = now
        was_there = self._seen.pop(path, None) is not None
        if (was_there or error.errno not in _GONE) and path not in self._told:
            self._told.add(path)
            log.warning("%s cannot be read any more: %s", path, error.strerror or error)


def is_text(name: str) -> bool:
    """Whether the name of a file is text: one of other bytes than UTF-8 can neither be kept nor told of."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _read(path: str, id: tuple[int, int]) -> Folder:
    files: dict[str, tuple[int, int]] = {}
    folders: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or not is_text(name):
                continue
            try:
                if entry.is_dir():
                    folders.append(name)
                elif name.lower().endswith(_READ):
                    status = entry.stat()
                    files[name] = status.st_mtime_ns, status.st_size
            except OSError:  # a link that leads nowhere, or a file that has just gone
                continue
    return Folder(path, id, {name: files[name] for name in sorted(files)}, tuple(sorted(folders)))
