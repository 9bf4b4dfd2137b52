"""Model files of some folders: each looked at once, and again when it changes; found by any of their names."""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from webui.checkpoints.cache import ModelCache
from webui.checkpoints.disk import ANY_AGE, NOW, SOON, WEIGHTS, Disk, Folder
from webui.checkpoints.files import Stamp, stamp_in, stamp_of
from webui.checkpoints.places import Place

READERS, FEW = 8, 32
"""Headers are read by several threads where they are more than a few: a network share answers late."""

MOMENT = 0.1
"""Seconds after a look at the folders in which a file that is found by its name is looked at alone."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Naming = Callable[[T], Iterable[str]]
"""The names by which something may be called, all of one rank."""


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


class Snapshot(Generic[T]):
    """What was there at one time."""

    def __init__(self, entries: Sequence[Entry[T]], folders: Sequence[Folder], form: Form[T]) -> None:
        self.entries = tuple(entries)
        self.folders = tuple(folders)
        self._form = form
        self._indices: list[dict[str, list[Entry[T]]]] = []

    @cached_property
    def by_name(self) -> tuple[Entry[T], ...]:
        """The same, sorted."""
        return tuple(sorted(self.entries, key=lambda entry: entry.name.lower()))

    def shows(self, folders: Sequence[Folder]) -> bool:
        """Whether these are the folders as they were."""
        return len(folders) == len(self.folders) and all(map(lambda a, b: a is b, folders, self.folders))

    def find(self, name: str) -> Entry[T] | None:
        """What a name means: by the first rank that has it, the same letters before those of another case, and what
        can be used before the rest."""
        lower, rank = name.lower(), 0
        while (index := self._index(rank)) is not None:
            alike = index.get(lower)
            if alike:
                exact = [entry for entry in alike if name in self._names(entry)[rank]] or alike
                return next((entry for entry in exact if self._form.usable(entry.item)), exact[0])
            rank += 1
        return None

    def _index(self, rank: int) -> dict[str, list[Entry[T]]] | None:
        """Lower case name -> what is called so, in one rank; None behind the last."""
        if rank == len(self._indices):
            if not self.entries or rank == len(self._names(self.entries[0])):
                return None
            index: dict[str, list[Entry[T]]] = {}
            for entry in self.entries:
                for name in {name.lower() for name in self._names(entry)[rank]}:
                    index.setdefault(name, []).append(entry)
            self._indices.append(index)
        return self._indices[rank]

    def _names(self, entry: Entry[T]) -> Sequence[Sequence[str]]:
        own = self._form.names(entry.item)
        # by its place too, whether or not the bare name is another file's today
        return [*own, (f"{entry.place.label}/{own[0][0]}",)]


class Listing(Generic[T]):
    """What the files are. Safe to use from several threads.

    unique: two files have two names: the second of a name has its place's label before it. A link that leads nowhere,
    or a file that goes meanwhile, is passed over.
    """

    def __init__(self, places: Sequence[Place], form: Form[T], memory: Memory, unique: bool = True) -> None:
        self._places = places
        self._form = form
        self._memory = memory
        self._unique = unique
        self._now = Snapshot[T]((), (), form)
        self._known: dict[str, Entry[T]] = {}
        self._kept: dict[str, tuple[str, str, str]] | None = None
        self._looked = self._walked = -ANY_AGE
        self._lock = threading.Lock()

    def list(self) -> builtins.list[T]:
        """All of them, in the order of the places."""
        return [entry.item for entry in self.snapshot().entries]

    def snapshot(self, age: float = SOON) -> Snapshot[T]:
        """What is there, the same object where nothing has changed. age: as of `Disk.folder`."""
        with self._lock:
            return self._renewed(age)

    def find(self, name: str) -> Entry[T] | None:
        """What a name means. The disk is looked at anew where that is nothing, or a file that has changed since."""
        with self._lock:
            fresh = time.monotonic() - self._walked < MOMENT
            now = self._now if fresh else self._renewed(ANY_AGE)
            found = now.find(name)
        if found is None or not self._form.usable(found.item) or found.has_changed():
            now = self.snapshot(NOW)
            with self._lock:
                found = now.find(name)
        return found

    def _renewed(self, age: float) -> Snapshot[T]:
        walked = [
            (place, folder)
            for place in self._places
            for folder in self._memory.disk.walk(place.folder, place.deep, age, self._form.index)
        ]
        self._walked = time.monotonic()
        folders = [folder for _, folder in walked]
        if not self._now.shows(folders) or self._is_unsure(age):
            self._now = Snapshot(self._read(walked), folders, self._form)
        return self._now

    def _is_unsure(self, age: float) -> bool:
        """Whether a file has changed, or may have, of which its folder does not tell."""
        now = time.monotonic()
        if age == ANY_AGE or now - self._looked < age:
            return False
        self._looked = now
        deeper = (entry for entry in self._now.entries if entry.path.suffix not in WEIGHTS and entry.path.is_dir())
        return any(map(self._hangs_on_more, self._now.entries)) or any(entry.has_changed() for entry in deeper)

    def _hangs_on_more(self, entry: Entry[T]) -> bool:
        """Whether it may become usable by another file: the JSON file beside it may name some."""
        return bool(entry.stamp[2]) and not self._form.usable(entry.item)

    def _read(self, walked: Sequence[tuple[Place, Folder]]) -> Sequence[Entry[T]]:
        """The files of these folders, those described that are new or have changed."""
        wanted = [one for one in self._wanted(walked) if one is not None]
        todo = [one for one in wanted if one.known is None]
        described = dict(zip((one.key for one in todo), self._described(todo), strict=True))
        entries = [one.known or described[one.key] for one in wanted]
        self._known = dict(zip((one.key for one in wanted), entries, strict=True))
        return entries

    def _wanted(self, walked: Sequence[tuple[Place, Folder]]) -> Iterator[_Wanted[T] | None]:
        seen: set[tuple[tuple[int, int], str]] = set()
        taken: set[str] = set()
        for place, folder in walked:
            for spot in self._form.spots(place, folder):
                if (folder.id, spot.file) not in seen:
                    seen.add((folder.id, spot.file))
                    name = self._free(spot.name, place, taken)
                    yield self._wish(place, folder, spot.file, name)

    def _free(self, name: str, place: Place, taken: set[str]) -> str:
        if self._unique and name in taken:
            plain = name = f"{place.label}/{name}"
            number = 2
            while name in taken:
                name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        return name

    def _wish(self, place: Place, folder: Folder, file: str, name: str) -> _Wanted[T] | None:
        key = os.path.join(folder.path, file) if file else folder.path
        try:
            stamp = stamp_in(folder, file) if file else stamp_of(Path(key))
        except OSError:
            return None
        known = self._known.get(key)
        same = known is not None and (known.stamp, known.name, known.place) == (stamp, name, place)
        unsure = known is not None and self._hangs_on_more(known)
        return _Wanted(key, name, place, stamp, known if same and not unsure else None)

    def _described(self, todo: Sequence[_Wanted[T]]) -> Iterator[Entry[T]]:
        if not todo:
            return iter(())
        if self._kept is None or len(todo) > FEW:
            self._kept = self._memory.cache.described(self._form.kind)
        loaded = {one.key: entry for one in todo if (entry := self._loaded(one)) is not None}
        rest = [one for one in todo if one.key not in loaded]
        self._kept = {}  # what it says is in memory now
        if len(rest) > FEW:
            with ThreadPoolExecutor(READERS, "headers") as pool:
                found = dict(zip((one.key for one in rest), pool.map(self._describe, rest), strict=True))
        else:
            found = {one.key: self._describe(one) for one in rest}
        self._memory.cache.keep_described(self._form.kind, self._rows(found))
        return (loaded.get(one.key) or found[one.key] for one in todo)

    def _describe(self, one: _Wanted[T]) -> Entry[T]:
        path = Path(one.key)
        return Entry(path, one.name, one.place, one.stamp, self._form.describe(path, one.name, one.stamp[1]))

    def _loaded(self, one: _Wanted[T]) -> Entry[T] | None:
        name, stamp, text = (self._kept or {}).get(one.key, ("", "", ""))
        if name != one.name or stamp != _as_text(one.stamp):
            return None
        path = Path(one.key)
        try:
            return Entry(path, name, one.place, one.stamp, self._form.load(text, path, name, one.stamp[1]))
        except ValueError:
            return None

    def _rows(self, found: dict[str, Entry[T]]) -> Iterator[tuple[str, tuple[str, str, str]]]:
        for key, entry in found.items():
            text = self._form.dump(entry.item, entry.stamp) if self._form.usable(entry.item) else None
            if text is not None:
                yield key, (entry.name, _as_text(entry.stamp), text)


@dataclass(frozen=True)
class _Wanted(Generic[T]):
    """A file that is there. known: what is known of it as it is now."""

    key: str
    name: str
    place: Place
    stamp: Stamp
    known: Entry[T] | None


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


def _as_text(stamp: Stamp) -> str:
    return " ".join(map(str, stamp))
