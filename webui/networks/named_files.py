"""Files that a prompt names, of one kind: how they are listed and found. No torch; nothing of the weights is read."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from webui.checkpoints.disk import NOW, SOON, Folder
from webui.checkpoints.entries import Listing
from webui.checkpoints.files import Stamp, model_files
from webui.checkpoints.forms import Entry, Memory, Spot, spots_of
from webui.checkpoints.listing import near, refuse_pickle
from webui.checkpoints.places import Place, Places
from webui.checkpoints.trees import Kind, shown_home
from webui.schema.errors import AtelierError, ModelError, NotFound

I = TypeVar("I")  # noqa: E741 (what a header says)


@dataclass(frozen=True)
class NamedFile(Generic[I]):
    """A file as pages list it. info: what it is; None where `error` says why it cannot be used."""

    name: str
    path: Path
    bytes: int = 0
    info: I | None = None
    error: str = ""


F = TypeVar("F", bound=NamedFile[Any])


@dataclass(frozen=True)
class NamedForm(Generic[F]):
    """How files of one kind are listed and called.

    make: the class of a listed file; detect: what the header of the file at a path says, ModelError where it is of
    another kind. info: its type, where it can be kept as JSON. by_folder: whether a file of this name, without ending,
    goes by its folder's; further: names of the lowest rank. words: a file is called by its own name in whatever
    folder, and several files may have one.
    """

    kind: Kind
    make: type[F]
    detect: Callable[[Path], Any]
    info: TypeAdapter[Any] | None = None
    by_folder: Callable[[str], bool] = lambda stem: False
    further: Callable[[F], Sequence[str]] = lambda file: ()
    words: bool = False
    index: str = ""

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        for spot in spots_of(place, folder, model_files(folder), self.by_folder):
            yield Spot(spot.file, spot.name.rsplit("/", 1)[-1]) if self.words else spot

    def describe(self, path: Path, name: str, size: int) -> F:
        """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
        try:
            refuse_pickle(path)
            return self.make(name, path, size, self.detect(path))
        except AtelierError as error:
            return self.make(name, path, size, error=str(error))

    def names(self, item: F) -> Sequence[Sequence[str]]:
        return (item.name,), (item.name.rsplit("/", 1)[-1], item.path.name), self.further(item)

    def usable(self, item: F) -> bool:
        return item.info is not None

    def dump(self, item: F, stamp: Stamp) -> str | None:
        return None if self.info is None else self.info.dump_json(item.info).decode()

    def load(self, text: str, path: Path, name: str, size: int) -> F:
        if self.info is None:
            raise ValueError("nothing is kept of this kind")
        return self.make(name, path, size, self.info.validate_json(text))


class NamedFiles(Generic[F]):
    """The files of one kind in all places. thing: as messages call one; cure: of a file that cannot be used; instead:
    what else to do about a name that means nothing."""

    def __init__(
        self, where: Places | Path | str, memory: Memory | None, form: NamedForm[F], thing: str, cure: str, instead: str
    ) -> None:
        self._places = Places.of(where)
        self._form = form
        self._thing, self._cure, self._instead = thing, cure, instead
        self._listing = Listing(self._places.of_kind(form.kind), form, memory or Memory(), unique=not form.words)

    def list(self) -> builtins.list[F]:
        """All files by name, also those that cannot be used: their `error` says why."""
        return [entry.item for entry in self.entries()]

    def entries(self, age: float = SOON) -> Sequence[Entry[F]]:
        """The same, with where they lie. age: seconds that a look at the disk may be old."""
        return self._listing.snapshot(age).by_name

    def stamped(self) -> builtins.list[tuple[Stamp, F]]:
        """The files in the order of the places, with what changes when one does."""
        return [(entry.stamp, entry.item) for entry in self._listing.snapshot(NOW).entries]

    def find(self, name: str) -> F:
        """The file that a prompt means: by its path below its place, its file's name with or without ending, or what
        else it is called. Small and capital letters count only between equals.

        Raises:
            NotFound: with names that are near.
            ModelError: the file cannot be used.
        """
        found = self._listing.find(name)
        if found is None:
            raise self._not_found(name)
        if found.item.info is None:
            raise ModelError(f'The {self._thing} "{name}" cannot be used: {found.item.error}', self._cure)
        return found.item

    def _not_found(self, name: str) -> NotFound:
        like = near(name, [file.name.rsplit("/", 1)[-1] for file in self.list() if file.info is not None])
        put = f"Put its .safetensors file into {shown_home(self._form.kind)}"
        rest = f"use one of: {like}" if like else self._instead
        return NotFound(f'There is no {self._thing} "{name}".', f"{put}, or {rest}." if rest else f"{put}.")
