"""Model files of some folders: each looked at once, and again when it changes; found by any of their names."""

from __future__ import annotations

import builtins
import difflib
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.header import PICKLES
from webui.checkpoints.trees import shown_path
from webui.schema.errors import ModelError

HASH_IN_NAME = re.compile(r"\s*\[([0-9a-fA-F]{6,64})\]\s*$")
"""The end of a name as A1111 shows it: "name [a1b2c3d4]"."""

T = TypeVar("T")
Naming = Callable[[T], Iterable[str]]
"""The names by which something may be called, all of one rank."""


class Listing(Generic[T]):
    """What the files are. Safe to use from several threads.

    files: paths and the names they are called by; describe: path, name, size in bytes -> what the file is. A link that
    leads nowhere, or a file that goes meanwhile, is passed over.
    """

    def __init__(
        self, files: Callable[[], Iterator[tuple[Path, str]]], describe: Callable[[Path, str, int], T]
    ) -> None:
        self._files = files
        self._describe = describe
        self._known: dict[Path, tuple[Stamp, T]] = {}
        self._lock = threading.Lock()

    def list(self) -> builtins.list[T]:
        """All of them, in the order of `files`."""
        return [item for _, item in self.stamped()]

    def stamped(self) -> builtins.list[tuple[Stamp, T]]:
        """The same, with what changes when their files do."""
        with self._lock:
            found: dict[Path, tuple[Stamp, T]] = {}
            for path, name in self._files():
                try:
                    stamp = stamp_of(path)
                except OSError:
                    continue
                known = self._known.get(path)
                same = known is not None and known[0] == stamp
                found[path] = known if known and same else (stamp, self._describe(path, name, stamp[1]))
            self._known = found
            return [*found.values()]


def find(items: Sequence[T], name: str, namings: Sequence[Naming[T]], good: Callable[[T], bool]) -> T | None:
    """The item that a name means: by the first naming that has it, the same letters before those of another case, and
    a good item before others."""
    for names in namings:
        alike = [item for item in items if name.lower() in (known.lower() for known in names(item))]
        exact = [item for item in alike if name in names(item)] or alike
        if exact:
            return next((item for item in exact if good(item)), exact[0])
    return None


def near(name: str, known: Sequence[str], first: int = 0) -> str:
    """Names that are like this one, as "a, b, c"; where none is, the first so many."""
    return ", ".join(difflib.get_close_matches(name, known, 3, 0.4) or known[:first])


def refuse_pickle(path: Path) -> None:
    """Raises ModelError where a file is a pickle."""
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path.name} is a pickle, which could run foreign code; it was not opened.",
            f"Convert it: python3 launch.py models convert {shlex.quote(shown_path(path))}",
        )
