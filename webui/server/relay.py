"""Where a public link comes from: the server at its public end, and the program that leads to it.

The program is Gradio's build of frpc. It is only started when its sha256 is the one that Gradio publishes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from webui.runtime.files import write_atomically
from webui.schema.errors import AtelierError

T = TypeVar("T")
DEADLINE = 13.0
LARGEST_BINARY = 64 << 20
CHECK_CONNECTION = "Is this machine online? A firewall or a proxy may be in the way."


class ShareError(AtelierError):
    """There is no public link."""

    code = "share"
    status = 503


@dataclass(frozen=True)
class Sources:
    """Where the parts come from. checksum None: nothing is published for this kind of machine."""

    api: str
    binary: Path
    binary_url: str
    checksum: str | None

    @classmethod
    def of_gradio(cls) -> Sources:
        from gradio import networking, tunneling

        url = tunneling.BINARY_URL
        return cls(networking.GRADIO_API_SERVER, Path(tunneling.BINARY_PATH), url, tunneling.CHECKSUMS.get(url))


@dataclass(frozen=True)
class Relay:
    """The server at the public end. certificate: the authority it is checked against; None: not encrypted."""

    host: str
    port: int
    certificate: str | None


class Deadline:
    """When the user shall know how it went. Bytes that arrive push it back."""

    def __init__(self, seconds: float = DEADLINE) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.05, self._end - time.monotonic())

    def extend(self, seconds: float) -> None:
        self._end = max(self._end, time.monotonic() + seconds)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end


def within(deadline: Deadline, work: Callable[[], T]) -> T:
    """What `work` gives, or TimeoutError: a name look-up, for one, takes no time limit of its own."""
    result: list[T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive() and not deadline.over:
        thread.join(deadline.left)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError("no answer")
    return result[0]


def find_relay(sources: Sources, deadline: Deadline) -> Relay:
    """Ask Gradio for a server. Raises ShareError."""
    try:
        answer = within(deadline, lambda: httpx.get(sources.api, timeout=deadline.left))
        answer.raise_for_status()
        entry = answer.json()[0]
        return Relay(str(entry["host"]), int(entry["port"]), str(entry["root_ca"]))
    except (httpx.HTTPError, OSError) as error:
        raise ShareError(f"{_host(sources.api)} cannot be reached ({_reason(error)}).", CHECK_CONNECTION) from error
    except (ValueError, LookupError, TypeError) as error:
        raise ShareError(f"{_host(sources.api)} gave an answer that makes no sense.", "Try again later.") from error


def fetch_program(sources: Sources, folder: Path, deadline: Deadline) -> Path:
    """A verified copy of the tunnel program that only this user can change. Raises ShareError."""
    if sources.checksum is None:
        raise ShareError("There is no tunnel program for this kind of machine.", "Use --listen behind a proxy.")
    data = _read(sources.binary)
    tampered = data is not None and not _matches(data, sources.checksum)
    if data is None or tampered:
        data = _download(sources, deadline, tampered)
    path = folder / f"frpc{sources.binary.suffix if os.name == 'nt' else ''}"
    try:
        write_atomically(path, data)
        path.chmod(0o700)
    except OSError as error:
        raise ShareError(f"The tunnel program cannot be kept in {folder}: {error.strerror}.") from error
    return path


def _download(sources: Sources, deadline: Deadline, tampered: bool) -> bytes:
    try:
        data = within(deadline, lambda: _receive(sources.binary_url, deadline))
    except (httpx.HTTPError, OSError, ValueError) as error:
        if tampered:
            raise _not_the_published(sources) from error
        raise ShareError(
            f"The tunnel program is not on this machine and {_host(sources.binary_url)} cannot be reached "
            f"({_reason(error)}).",
            f"{CHECK_CONNECTION} Or download {sources.binary_url} elsewhere and put it at {sources.binary}.",
        ) from error
    if not _matches(data, sources.checksum or ""):
        raise _not_the_published(sources)
    return data


def _receive(url: str, deadline: Deadline) -> bytes:
    data = bytearray()
    with httpx.stream("GET", url, timeout=8.0, follow_redirects=True) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            data += chunk
            deadline.extend(8.0)
            if len(data) > LARGEST_BINARY:
                raise ValueError("it has no end")
    return bytes(data)


def _not_the_published(sources: Sources) -> ShareError:
    return ShareError(
        f"The tunnel program {sources.binary} is not the one that Gradio publishes (its checksum differs), so it was "
        "not started.",
        "Delete it and start again.",
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _matches(data: bytes, checksum: str) -> bool:
    return hashlib.sha256(data).hexdigest() == checksum


def _host(url: str) -> str:
    return httpx.URL(url).host


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
