"""Fetches the model files that an extension declares: on the user's word, resumed where it broke off, checked whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.checkpoints.trees import shown_path
from webui.ext.specs import ModelFile
from webui.fetch.errors import FetchError
from webui.fetch.file_lock import locked
from webui.fetch.receive import Progress, Wanted, forget, receive, untold
from webui.fetch.web import Web
from webui.schema.errors import DiskError

FOLDER: Final = "ControlNetPreprocessor"
_SCHEMES: Final = ("https://", "http://")
ANYWHERE: Final = Web(private=True, plain=True)
"""Who installed the extension has agreed to its addresses."""


@dataclass(frozen=True)
class Declared:
    """One file of a declared model. path: where it belongs; bytes, sha256: as declared, 0 and "" where they are not."""

    path: Path
    url: str
    bytes: int
    sha256: str

    @property
    def is_there(self) -> bool:
        return self.path.is_file()

    @property
    def by_hand(self) -> str:
        """What the user can do instead of fetching it."""
        return f"You can also put {self.path.name} into {shown_path(self.path.parent)} yourself."

    @property
    def wanted(self) -> Wanted:
        """It, on its way."""
        name = self.path.name
        part = self.path.with_name(f"{name}.part")
        return Wanted(self.url, part, name, self.bytes, self.sha256, self.by_hand)

    @property
    def lock(self) -> Path:
        """Held by who fetches it."""
        return self.path.with_name(f"{self.path.name}.lock")


def files_of(model: ModelFile, models_dir: Path) -> tuple[Declared, ...]:
    """The files of a declared model, whether or not they are there."""
    place = models_dir / FOLDER / model.file
    if not model.parts:
        return (Declared(place, model.url, model.bytes, model.sha256),)
    return tuple(Declared(place / part.file, part.url, part.bytes, part.sha256) for part in model.parts)


def size_of(model: ModelFile) -> int:
    """Bytes of a declared model, at least about; 0 where nothing is said."""
    return model.bytes or sum(part.bytes for part in model.parts) or model.megabytes * 1_000_000


def is_there(model: ModelFile, models_dir: Path) -> bool:
    """Whether all files of a declared model are there."""
    return all(file.is_there for file in files_of(model, models_dir))


def fetch_model(model: ModelFile, models_dir: Path, progress: Progress = untold, web: Web = ANYWHERE) -> None:
    """Fetch the files of a model that are missing. A second call goes on where the first one ended; while another
    program fetches a file, this one waits and tells of 0 bytes.

    Raises:
        FetchError: no address, no connection, or other content than declared; the cure says what to put where.
        DiskError: there is no room for it.
    """
    for declared in files_of(model, models_dir):
        if not declared.is_there:
            _fetch(declared, progress, web)


def _fetch(declared: Declared, progress: Progress, web: Web) -> None:
    if not declared.url.startswith(_SCHEMES):
        raise FetchError(f"{declared.path.name} has no address to fetch it from.", declared.by_hand)
    try:
        declared.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(declared.lock, lambda: progress(declared.path.name, 0, 0)):
            if not declared.is_there:  # another program may have fetched it meanwhile
                receive(declared.wanted, web, progress)
                os.replace(declared.wanted.part, declared.path)
                forget(declared.wanted)
    except OSError as error:
        raise DiskError(f"{declared.path.name} was not saved: {error.strerror or error}.") from error
