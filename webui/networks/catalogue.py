"""The networks in the models folder, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from webui.checkpoints.files import is_model_file, walk
from webui.checkpoints.header import read_header
from webui.checkpoints.listing import Listing, Naming, find, near, refuse_pickle
from webui.networks.detect import NetworkInfo, detect_network
from webui.networks.files import beside, name_of
from webui.schema.errors import AtelierError, ModelError, NotFound

FOLDERS = ("Lora", "LyCORIS")


@dataclass(frozen=True)
class NetworkFile:
    """A file as pages list it. info: what it is; None where `error` says why it cannot be used."""

    name: str
    path: Path
    bytes: int = 0
    info: NetworkInfo | None = None
    error: str = ""

    @property
    def alias(self) -> str:
        """The name its author gave it in training, "" where there is none."""
        return self.info.alias if self.info is not None else ""


Files = list[NetworkFile]


class NetworkCatalogue:
    """Networks under `models_dir`: in the folders Lora and LyCORIS and below them."""

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self._listing = Listing(partial(_files, self.models_dir), describe_network)

    def list(self) -> Files:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._listing.list(), key=lambda file: file.name.lower())

    def find(self, name: str) -> NetworkFile:
        """The network that a tag means: by its path below the folder, by its file's name with or without ending, or
        by the name that its author gave it in training. Small and capital letters count only between equals.

        Raises:
            NotFound: with names that are near.
            ModelError: the file cannot be used.
        """
        files = self.list()
        found = find(files, name, _NAMINGS, lambda file: file.info is not None)
        if found is None:
            raise self._not_found(name, files)
        if found.info is None:
            raise ModelError(found.error, "Until then, take it out of the prompt.")
        return found

    def _not_found(self, name: str, files: Files) -> NotFound:
        like = near(name, [file.name.rsplit("/", 1)[-1] for file in files if file.info is not None])
        put = f"Put its .safetensors file into {self.models_dir / FOLDERS[0]}"
        rest = f"use one of: {like}" if like else "take it out of the prompt"
        return NotFound(f'There is no network "{name}".', f"{put}, or {rest}.")


def describe_network(path: Path, name: str, size: int = 0) -> NetworkFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        refuse_pickle(path)
        return NetworkFile(name, path, size, detect_network(read_header(path), beside(path)))
    except AtelierError as error:
        return NetworkFile(name, path, size, error=str(error))


def _files(models_dir: Path) -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        root = models_dir / folder
        yield from ((path, name_of(path, root)) for path in walk(root, True) if is_model_file(path))


_NAMINGS: tuple[Naming[NetworkFile], ...] = (
    lambda file: (file.name,),
    lambda file: (file.name.rsplit("/", 1)[-1], file.path.name),
    lambda file: (file.alias,) if file.alias else (),
)
"""What a name may be, the most exact first."""
