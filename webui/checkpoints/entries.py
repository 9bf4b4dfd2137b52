"""Model files of some folders: each looked at once, and again when it changes; found by any of their names."""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from webui.checkpoints.disk import ANY_AGE, NOW, SOON, WEIGHTS, Folder
from webui.checkpoints.files import Stamp, stamp_in, stamp_of
from webui.checkpoints.forms import Entry, Form, Memory
from webui.checkpoints.places import Place
from webui.checkpoints.snapshot import Snapshot

READERS, FEW = 8, 32
"""Headers are read by several threads where they are more than a few: a network share answers late."""

MOMENT = 0.1
"""Seconds after a look at the folders in which a file that is found by its name is looked at alone."""

T = TypeVar("T")


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


def _as_text(stamp: Stamp) -> str:
    return " ".join(map(str, stamp))
