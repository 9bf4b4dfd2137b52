"""One file of another machine: resumed where it broke off, checked whole. It comes to a part file, which its caller
moves to its place."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from webui.fetch.errors import FetchError
from webui.fetch.names import name_of
from webui.fetch.room import check_room, check_spare
from webui.fetch.web import Web, shown
from webui.schema.errors import DiskError

_CHUNK: Final = 2**20
_BLIND: Final = 16 * _CHUNK
"""Bytes of a file of unknown length between two looks at the disk."""

Progress = Callable[[str, int, int], None]
"""progress(file, bytes there, bytes in all or 0): called after each piece; what it raises ends the fetching."""


def untold(_file: str, _done: int, _total: int) -> None:
    """A progress that nobody looks at."""


@dataclass(frozen=True)
class Wanted:
    """A file of another machine. name: as messages call it; part: where what comes is kept; bytes, sha256: as
    declared, 0 and "" where they are not; by_hand: what the user can do instead."""

    url: str
    part: Path
    name: str
    bytes: int = 0
    sha256: str = ""
    by_hand: str = ""

    @property
    def memory(self) -> Path:
        """What is known of the file that the part is the beginning of."""
        return self.part.with_name(f"{self.part.name}.json")


@dataclass(frozen=True)
class Known:
    """What a server told of a file. mark: changes with its content; name: what it calls the file; sha256: as the hub
    tells it; page: whether it is a web page."""

    mark: str = ""
    total: int = 0
    name: str = ""
    sha256: str = ""
    page: bool = False


Starting = Callable[[Known], None]
"""Told what a server says of a file before it is written; what it raises ends the fetching."""


def receive(wanted: Wanted, web: Web, progress: Progress = untold, starting: Starting = lambda _: None) -> Known:
    """Bring the part up to its full length and check it. A second call goes on where the first one ended, unless the
    file is another one by now or the server cannot begin in the middle.

    Who moves the part away calls `forget`.

    Raises:
        FetchError: no connection, or other content than declared; the cure says what to do instead.
        DiskError: there is no room for it, or it cannot be written.
    """
    with _in_words(wanted):
        known = _fill(wanted, web, progress, starting)
        _check(wanted, known, progress)
    return known


def forget(wanted: Wanted) -> None:
    """Delete what has come."""
    wanted.part.unlink(missing_ok=True)
    wanted.memory.unlink(missing_ok=True)


@contextmanager
def _in_words(wanted: Wanted) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        raise FetchError(
            f"{wanted.name} was not fetched from {shown(wanted.url)}: {error.reason}.",
            "Is the address right? " + wanted.by_hand,
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise FetchError(
            f"{wanted.name} was not fetched from {shown(wanted.url)}: {reason}.",
            f"Try again: what has come is kept. {wanted.by_hand}".strip(),
        ) from error
    except OSError as error:
        raise DiskError(f"{wanted.name} was not saved: {error.strerror or error}.") from error


def _fill(wanted: Wanted, web: Web, progress: Progress, starting: Starting) -> Known:
    there, before = _begun(wanted)
    if there and there == (wanted.bytes or before.total):
        starting(before)
        return before
    headers = {"Range": f"bytes={there}-"} if there else {}
    if there and before.mark and not before.mark.startswith("W/"):
        headers["If-Range"] = before.mark
    try:
        answer = web.open(wanted.url, headers, wanted.name)
    except urllib.error.HTTPError as error:
        if there and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            forget(wanted)
            return _fill(wanted, web, progress, starting)
        raise
    with answer:
        known = _told(answer, wanted)
        if there and not _goes_on(answer, there, before, known):
            if answer.status == HTTPStatus.PARTIAL_CONTENT:  # the middle of another file: its beginning is needed
                forget(wanted)
                return _fill(wanted, web, progress, starting)
            there = 0
        _refuse(wanted, known, there)
        starting(known)
        _write(answer, wanted, known, there, progress)
    return known


def _begun(wanted: Wanted) -> tuple[int, Known]:
    """Bytes that are there, and what was known of the file then."""
    try:
        there = wanted.part.stat().st_size
        said = json.loads(wanted.memory.read_text(encoding="utf-8"))
        return there, Known(**{name: said[name] for name in Known.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return wanted.part.stat().st_size if wanted.part.exists() else 0, Known()


def _told(answer: Any, wanted: Wanted) -> Known:
    headers = answer.headers
    span = re.fullmatch(r"bytes \d+-\d+/(\d+)", headers.get("Content-Range") or "")
    length = int(span[1]) if span else 0
    if not length and answer.status != HTTPStatus.PARTIAL_CONTENT:
        length = _length(headers)
    mark = headers.get("ETag") or headers.get("Last-Modified") or ""
    page = (headers.get("Content-Type") or "").lower().startswith("text/html")
    return Known(mark, length or wanted.bytes, name_of(headers, answer.url), answer.linked, page)


def _length(headers: Any) -> int:
    """What a server says that it sends; 0 where it says nothing that makes sense."""
    said = headers.get("Content-Length") or ""
    return int(said) if re.fullmatch(r"\d{1,18}", said) else 0


def _goes_on(answer: Any, there: int, before: Known, now: Known) -> bool:
    """Whether an answer is the rest of what was begun."""
    if answer.status != HTTPStatus.PARTIAL_CONTENT:
        return False
    span = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or f"bytes {there}-")
    if span is None or int(span[1]) != there:
        return False
    same_length = not (before.total and now.total) or before.total == now.total
    return same_length and (not before.mark or before.mark == now.mark)


def _write(answer: Any, wanted: Wanted, known: Known, there: int, progress: Progress) -> None:
    wanted.part.parent.mkdir(parents=True, exist_ok=True)
    length = _length(answer.headers)
    total, looked = known.total or (there + length if length else 0), there
    if not there:
        wanted.part.unlink(missing_ok=True)
    wanted.memory.write_text(json.dumps(asdict(known)), encoding="utf-8")
    with wanted.part.open("ab" if there else "wb") as file:
        while data := answer.read(_CHUNK):
            file.write(data)
            there += len(data)
            progress(wanted.name, there, total)
            if not total and there > looked + _BLIND:
                looked = there
                _leave_room(wanted)
        file.flush()
        os.fsync(file.fileno())
    if total and there != total:
        raise ConnectionError(f"the connection ended after {there:,} of {total:,} bytes")


def _refuse(wanted: Wanted, known: Known, there: int) -> None:
    """Before anything is written: another length than declared, or no room."""
    if wanted.bytes and known.total != wanted.bytes:
        forget(wanted)
        raise FetchError(
            f"{wanted.name} at {shown(wanted.url)} has {known.total:,} bytes, declared are {wanted.bytes:,}.",
            wanted.by_hand,
        )
    check_room(wanted.name, wanted.part.parent, known.total - there)


def _leave_room(wanted: Wanted) -> None:
    try:
        check_spare(wanted.name, wanted.part.parent)
    except DiskError:
        forget(wanted)
        raise


def _check(wanted: Wanted, known: Known, progress: Progress) -> None:
    """Raises FetchError where what came is not what was declared; it is deleted then."""
    declared = wanted.sha256 or known.sha256
    if not declared:
        return
    found = sha256_of(wanted.part, lambda done: progress(wanted.name, done, known.total))
    if found != declared.lower():
        forget(wanted)
        raise FetchError(
            f"{wanted.name} from {shown(wanted.url)} is not the declared file: its sha256 is {found}.", wanted.by_hand
        )


def sha256_of(path: Path, told: Callable[[int], None] = lambda _: None) -> str:
    """The sha256 of a file. told: how many bytes are read. Raises OSError."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(8 * _CHUNK):
            digest.update(data)
            done += len(data)
            told(done)
    return digest.hexdigest()
