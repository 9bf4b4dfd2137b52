"""Fetches the model files that an extension declares: on the user's word, resumed where it broke off, checked whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from webui.ext.file_lock import locked
from webui.ext.specs import ModelFile
from webui.schema.errors import AtelierError, DiskError

FOLDER: Final = "ControlNetPreprocessor"
TIMEOUT: Final = 60.0
SPARE: Final = 200 * 2**20
_CHUNK: Final = 2**20
_SCHEMES: Final = ("https://", "http://")

Progress = Callable[[str, int, int], None]
"""progress(file, bytes there, bytes in all or 0): called after each piece; what it raises ends the fetching."""
Open = Callable[[urllib.request.Request], Any]
"""Opens a request; the answer can be read, and has `status` and `headers`."""


class FetchError(AtelierError):
    """A model file that cannot be fetched, or came out other than declared."""

    code = "not_fetched"
    status = 502


@dataclass(frozen=True)
class Wanted:
    """One file of a declared model. path: where it belongs; bytes, sha256: as declared, 0 and "" where they are not."""

    path: Path
    url: str
    bytes: int
    sha256: str

    @property
    def is_there(self) -> bool:
        return self.path.is_file()

    @property
    def part(self) -> Path:
        """What has come so far."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def lock(self) -> Path:
        """Held by who fetches it."""
        return self.path.with_name(f"{self.path.name}.lock")


def files_of(model: ModelFile, models_dir: Path) -> tuple[Wanted, ...]:
    """The files of a declared model, whether or not they are there."""
    place = models_dir / FOLDER / model.file
    if not model.parts:
        return (Wanted(place, model.url, model.bytes, model.sha256),)
    return tuple(Wanted(place / part.file, part.url, part.bytes, part.sha256) for part in model.parts)


def size_of(model: ModelFile) -> int:
    """Bytes of a declared model, at least about; 0 where nothing is said."""
    return model.bytes or sum(part.bytes for part in model.parts) or model.megabytes * 1_000_000


def is_there(model: ModelFile, models_dir: Path) -> bool:
    """Whether all files of a declared model are there."""
    return all(wanted.is_there for wanted in files_of(model, models_dir))


def fetch_model(
    model: ModelFile, models_dir: Path, progress: Progress = lambda *_: None, open: Open | None = None
) -> None:
    """Fetch the files of a model that are missing. A second call goes on where the first one ended; while another
    program fetches a file, this one waits and tells of 0 bytes.

    Raises:
        FetchError: no address, no connection, or other content than declared; the cure says what to put where.
        DiskError: there is no room for it.
    """
    for wanted in files_of(model, models_dir):
        if not wanted.is_there:
            _fetch(wanted, progress, open or _open)


def _fetch(wanted: Wanted, progress: Progress, open: Open) -> None:
    if not wanted.url.startswith(_SCHEMES):
        raise FetchError(f"{wanted.path.name} has no address to fetch it from.", _by_hand(wanted))
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(wanted.lock, lambda: progress(wanted.path.name, 0, 0)):
            if not wanted.is_there:  # another program may have fetched it meanwhile
                _receive(wanted, progress, open)
                _check(wanted)
                os.replace(wanted.part, wanted.path)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{wanted.path.name} was not fetched from {wanted.url}: {reason}.",
            f"Try again: what has come is kept. {_by_hand(wanted)}",
        ) from error
    except OSError as error:
        raise DiskError(f"{wanted.path.name} was not saved: {error.strerror or error}.") from error


def _by_hand(wanted: Wanted) -> str:
    return f"You can also put {wanted.path.name} into {wanted.path.parent} yourself."


def _receive(wanted: Wanted, progress: Progress, open: Open) -> None:
    """Bring the part up to its full length."""
    there = wanted.part.stat().st_size if wanted.part.exists() else 0
    if there and there == wanted.bytes:
        return
    headers = {"User-Agent": "atelier", "Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    with open(urllib.request.Request(wanted.url, headers=headers)) as answer:
        there = there if answer.status == HTTPStatus.PARTIAL_CONTENT else 0  # else the server begins anew
        length = int(answer.headers.get("Content-Length") or 0)
        total = there + length if length else wanted.bytes
        _refuse(wanted, total, total - there)
        with wanted.part.open("ab" if there else "wb") as file:
            while data := answer.read(_CHUNK):
                file.write(data)
                there += len(data)
                progress(wanted.path.name, there, total)
            file.flush()
            os.fsync(file.fileno())
    if total and there < total:
        raise ConnectionError(f"the connection ended after {there:,} of {total:,} bytes")


def _refuse(wanted: Wanted, total: int, missing: int) -> None:
    """Before anything is written: another length than declared, or no room."""
    if wanted.bytes and total != wanted.bytes:
        wanted.part.unlink(missing_ok=True)
        raise FetchError(
            f"{wanted.path.name} at {wanted.url} has {total:,} bytes, declared are {wanted.bytes:,}.", _by_hand(wanted)
        )
    free = shutil.disk_usage(wanted.path.parent).free
    if missing + SPARE > free:
        raise DiskError(f"{wanted.path.name} needs {missing / 1e6:,.0f} MB, free are {free / 1e6:,.0f} MB.")


def _check(wanted: Wanted) -> None:
    """Raises FetchError where what came is not what was declared; it is deleted then."""
    if not wanted.sha256:
        return
    with wanted.part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted.sha256:
        wanted.part.unlink()
        raise FetchError(
            f"{wanted.path.name} from {wanted.url} is not the declared file: its sha256 is {found}.", _by_hand(wanted)
        )


def _open(request: urllib.request.Request) -> Any:
    return urllib.request.urlopen(request, timeout=TIMEOUT)
