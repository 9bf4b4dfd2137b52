"""The sha256 of model files, read in the background: what a job needs at once, then everything else, slowly."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from webui.checkpoints.digests import read_digests, time_of
from webui.networks.inventory import Item
from webui.networks.library import Library
from webui.runtime.hash_order import digests_of, ranking, stamp_of
from webui.schema.errors import AtelierError
from webui.schema.results import ModelInfo

log = logging.getLogger(__name__)
State = Literal["off", "looking", "reading", "paused", "done"]
LATER = 5.0
"""Seconds that a server has to itself when it starts."""
REST, SHORTEST = 4.0, 0.05
"""While a job runs a block is followed by so many times its own time without reading; and seconds, at least."""
NICE = 10


class Hashed(Protocol):
    """What can be hashed (`webui.checkpoints.catalogue.Catalogue`)."""

    def path(self, name: str) -> Path:
        """The file of a model. Raises NotFound."""

    def sha256(self, name: str, cancelled: Callable[[], bool]) -> str | None:
        """The sha256 of a model's file; None when cancelled on the way. Raises ModelError, NotFound."""


@dataclass(frozen=True)
class HashProgress:
    """files, bytes: of all files that can be used; *_done: of those whose sha256 is known, with what was read of the
    present one. current: its name."""

    state: State
    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    current: str = ""


class Hashing:
    """One thread that reads model files, with less right to the processor than others.

    library: all files; None: only what jobs need is read. busy: whether a job runs, so that the disk is left to it for
    most of the time. used: names of checkpoints, the one that was used last first.
    """

    def __init__(
        self,
        models: Hashed,
        library: Library | None = None,
        busy: Callable[[], bool] = lambda: False,
        used: Callable[[], Sequence[str]] = lambda: (),
        later: float = LATER,
    ) -> None:
        self._models = models
        self._library = library
        self._busy = busy
        self._used = used
        self._later = later
        self._changed = threading.Condition()
        self._wanted: deque[tuple[ModelInfo, Future[ModelInfo]]] = deque()
        self._closed = self._paused = False
        self._look = library is not None
        self._progress = HashProgress("off" if library is None else "looking")
        self._read = 0
        self._failed: set[tuple[Path, tuple[int, int]]] = set()
        self._thread = threading.Thread(target=self._work, daemon=True, name="hashing")
        self._thread.start()

    def complete(self, info: ModelInfo) -> Future[ModelInfo]:
        """The same with its sha256, before all else; without where the file cannot be read."""
        future: Future[ModelInfo] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
            else:
                self._wanted.append((info, future))
            self._changed.notify_all()
        return future

    def progress(self) -> HashProgress:
        """How far it is now."""
        with self._changed:
            now = self._progress
            state: State = "paused" if self._paused and now.state in ("looking", "reading") else now.state
            return HashProgress(state, now.files, now.files_done, now.bytes, now.bytes_done + self._read, now.current)

    def pause(self) -> None:
        """Read nothing but what jobs need, until `resume`."""
        self._set_paused(True)

    def resume(self) -> None:
        self._set_paused(False)

    def again(self) -> None:
        """Look whether there are other files now."""
        with self._changed:
            self._look = self._library is not None
            self._changed.notify_all()

    def close(self) -> None:
        """Give up what is being read."""
        with self._changed:
            self._closed = True
            for _, future in self._wanted:
                future.cancel()
            self._changed.notify_all()
        self._thread.join()

    def _set_paused(self, paused: bool) -> None:
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    # the thread

    def _work(self) -> None:
        _lower_priority()
        begin = time.monotonic() + self._later
        while not self._closed:
            self._serve()
            with self._changed:
                left = begin - time.monotonic()
                rests = left > 0 or self._paused or not self._look
                if rests and not self._wanted and not self._closed:
                    self._changed.wait(left if left > 0 else None)
                    continue
                look, self._look = self._look and not rests, self._look and rests
            if look:
                self._try_all()

    def _serve(self) -> None:
        """What jobs wait for."""
        while True:
            with self._changed:
                if self._closed or not self._wanted:
                    return
                info, future = self._wanted.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(self._completed(info))

    def _completed(self, info: ModelInfo) -> ModelInfo:
        if info.sha256 is not None:
            return info
        try:
            return info.model_copy(update={"sha256": self._models.sha256(info.name, lambda: self._closed)})
        except (AtelierError, OSError) as error:
            log.warning("the hash of %s is not known: %s", info.name, error)
        except Exception:  # a job waits for the answer
            log.exception("the hash of %s is not known", info.name)
        return info

    def _try_all(self) -> None:
        """Read them all; whatever goes wrong, jobs are served on."""
        try:
            self._read_all()
        except Exception:
            log.exception("the hashes of model files are not read on")
            with self._changed:
                self._progress = replace(self._progress, state="done", current="")

    def _read_all(self) -> None:
        """All files of the library whose digests are not known, until other files are to be looked for."""
        assert self._library is not None
        items = [item for item in self._library.items() if not item.error]
        todo = sorted(filter(self._is_wanting, items), key=ranking(self._used()))
        self._tell("reading", items, todo)
        for at, item in enumerate(todo):
            if self._closed or self._look:
                return
            self._tell("reading", items, todo[at:], item.name)
            self._digest(item)
        self._tell("done", items, [])
        self._library.memory.cache.forget(_is_gone)

    def _digest(self, item: Item) -> None:
        assert self._library is not None
        cache, stamp = self._library.memory.cache, stamp_of(item)
        try:
            begun = time.monotonic()

            def watch(count: int) -> bool:
                nonlocal begun
                self._rest(time.monotonic() - begun, count)
                begun = time.monotonic()
                return self._closed

            read_digests(item.path, cache, digests_of(item), watch)
            if stamp == time_of(item.path):
                return
        except (AtelierError, OSError) as error:
            log.warning("the hash of %s is not known: %s", item.name, error)
        self._failed.add((item.path, stamp))

    def _rest(self, seconds: float, count: int) -> None:
        """After a block that took so long: what jobs wait for, a pause that the user asked for, and room for a job."""
        with self._changed:
            self._read += count
        self._serve()
        until = time.monotonic() + (max(REST * seconds, SHORTEST) if self._busy() else 0.0)
        while not self._closed and (self._paused or time.monotonic() < until):
            with self._changed:
                if not self._wanted:
                    self._changed.wait(None if self._paused else max(0.0, until - time.monotonic()))
            self._serve()

    def _tell(self, state: State, items: Sequence[Item], todo: Sequence[Item], current: str = "") -> None:
        whole, left = sum(item.bytes for item in items), sum(item.bytes for item in todo)
        with self._changed:
            self._read = 0
            self._progress = HashProgress(state, len(items), len(items) - len(todo), whole, whole - left, current)

    def _is_wanting(self, item: Item) -> bool:
        """Whether a digest of a file is not known, and reading it has not failed before."""
        assert self._library is not None
        cache, stamp = self._library.memory.cache, stamp_of(item)
        unknown = any(cache.digest(str(item.path), what, stamp) is None for what in digests_of(item))
        return unknown and (item.path, stamp) not in self._failed


def _is_gone(path: str) -> bool:
    """Whether a file was taken away; not whether the disk is that it lies on."""
    return not os.path.exists(path) and os.path.isdir(os.path.dirname(path))


def _lower_priority() -> None:
    """Of this thread alone, where a system can say so."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
