"""The model files that were there at one time, found by any of their names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

from webui.checkpoints.disk import Folder
from webui.checkpoints.forms import Entry, Form

T = TypeVar("T")


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
