"""What is common to the lists of model files of every kind: how a kind is told apart, what a listed file is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from webui.checkpoints.cache import ModelCache
from webui.checkpoints.disk import Disk, Folder
from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.places import Place

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Memory:
    """What the catalogues of one process share: what was seen of folders, and what is kept of files."""

    disk: Disk = field(default_factory=Disk)
    cache: ModelCache = field(default_factory=ModelCache)

    @classmethod
    def of(cls, data_dir: Path | None) -> Memory:
        """With the cache in the program's own data; without it nothing outlives the process."""
        return cls(cache=ModelCache.of(data_dir))


@dataclass(frozen=True)
class Spot:
    """A file that a place lists. file: its name in the folder, "" for the folder itself; name: what it is called."""

    file: str
    name: str


class Form(Protocol[T]):
    """How the files of one kind are told apart, looked at and called. What is found has a name and is immutable."""

    @property
    def kind(self) -> str:
        """Under which they are kept in the cache."""
        ...

    @property
    def index(self) -> str:
        """The file that makes a folder one model; "" where none does."""
        ...

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        """The files of a folder that are listed."""

    def describe(self, path: Path, name: str, size: int) -> T:
        """What a file of so many bytes is; reads its header, and raises nothing."""

    def names(self, item: T) -> Sequence[Sequence[str]]:
        """What it may be called, the most exact first; those of one rank together. All have as many ranks, and one name
        in the first."""

    def usable(self, item: T) -> bool: ...

    def dump(self, item: T, stamp: Stamp) -> str | None:
        """What is kept of it; None where it hangs on more than its stamp tells."""

    def load(self, text: str, path: Path, name: str, size: int) -> T:
        """The reverse. Raises ValueError for any other text."""


@dataclass(frozen=True)
class Entry(Generic[T_co]):
    """A listed file. stamp: changes when it does."""

    path: Path
    name: str
    place: Place
    stamp: Stamp
    item: T_co

    def has_changed(self) -> bool:
        """Whether the file is not there any more as it was."""
        try:
            return stamp_of(self.path) != self.stamp
        except OSError:
            return True


def spots_of(place: Place, folder: Folder, files: Iterable[str], by_folder: Callable[[str], bool]) -> Iterator[Spot]:
    """Files and their names: the path below the place without the ending. Those that are called alike in every folder
    (by_folder, of the name without ending) go by the name of theirs."""
    below = name_below(place, folder)
    for file in files:
        stem = os.path.splitext(file)[0]
        if below and by_folder(stem):
            yield Spot(file, below)
        else:
            yield Spot(file, f"{below}/{stem}" if below else stem)


def name_below(place: Place, folder: Folder) -> str:
    """The path of a folder below its place, "" for the place itself."""
    return folder.path[len(os.path.abspath(place.folder)) :].strip(os.sep).replace(os.sep, "/")
