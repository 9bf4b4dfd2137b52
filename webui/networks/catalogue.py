"""The networks in the models folder, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

import difflib
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.files import Stamp, is_model_file, stamp_of, walk
from webui.checkpoints.header import PICKLES, read_header
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
    """Networks under `models_dir`: in the folders Lora and LyCORIS and below them.

    A file is looked at once, and again when it changes. Safe to use from several threads.
    """

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self._known: dict[Path, tuple[Stamp, NetworkFile]] = {}
        self._lock = threading.Lock()

    def list(self) -> Files:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._scan(), key=lambda file: file.name.lower())

    def find(self, name: str) -> NetworkFile:
        """The network that a tag means: by its path below the folder, by its file's name with or without ending, or
        by the name that its author gave it in training. Small and capital letters count only between equals.

        Raises:
            NotFound: with names that are near.
            ModelError: the file cannot be used.
        """
        found = self._find(name)
        if found is None:
            raise self._not_found(name)
        if found.info is None:
            raise ModelError(found.error, "Until then, take it out of the prompt.")
        return found

    def _find(self, name: str) -> NetworkFile | None:
        files = self.list()
        for names in _NAMINGS:
            same = [file for file in files if name.lower() in (known.lower() for known in names(file))]
            exact = [file for file in same if name in names(file)] or same
            if exact:
                return next((file for file in exact if file.info is not None), exact[0])
        return None

    def _not_found(self, name: str) -> NotFound:
        known = [file.name.rsplit("/", 1)[-1] for file in self.list() if file.info is not None]
        near = difflib.get_close_matches(name, known, 3, 0.4)
        put = f"Put its .safetensors file into {self.models_dir / FOLDERS[0]}"
        return NotFound(
            f'There is no network "{name}".',
            f"{put}, or use one of: {', '.join(near)}." if near else f"{put}, or take it out of the prompt.",
        )

    def _scan(self) -> Files:
        with self._lock:
            found: dict[Path, tuple[Stamp, NetworkFile]] = {}
            for path, name in _files(self.models_dir):
                try:
                    stamp = stamp_of(path)
                except OSError:  # gone since it was listed, or a broken link
                    continue
                known = self._known.get(path)
                found[path] = known if known and known[0] == stamp else (stamp, describe_network(path, name, stamp[1]))
            self._known = found
            return [file for _, file in found.values()]


def describe_network(path: Path, name: str, size: int = 0) -> NetworkFile:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        if path.suffix.lower() in PICKLES:
            raise ModelError(
                f"{path.name} is a pickle, which could run foreign code; it was not opened.",
                f"Convert it: python3 launch.py models convert {shlex.quote(str(path))}",
            )
        return NetworkFile(name, path, size, detect_network(read_header(path), beside(path)))
    except AtelierError as error:
        return NetworkFile(name, path, size, error=str(error))


def _files(models_dir: Path) -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        root = models_dir / folder
        yield from ((path, name_of(path, root)) for path in walk(root, True) if is_model_file(path))


_NAMINGS: tuple[Callable[[NetworkFile], tuple[str, ...]], ...] = (
    lambda file: (file.name,),
    lambda file: (file.name.rsplit("/", 1)[-1], file.path.name),
    lambda file: (file.alias,) if file.alias else (),
)
"""What a name may be, the most exact first."""
