"""What was learned of model files, kept over restarts: what their headers say, and their sha256.

One SQLite file for all processes of an installation. It is a cache: one that is damaged or foreign is set aside and
begun anew, and where it cannot be used at all the files are read again. Nobody fails because of it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from webui.checkpoints.cache_tables import BROKEN, code_of, is_broken, prepare

log = logging.getLogger(__name__)
FILE: Final = "models.sqlite"
Described = tuple[str, str, str]
"""Of a file: the name it was described under, its stamp as text, what was found."""
FileTime = tuple[int, int]
"""Modification time in nanoseconds, size in bytes."""
T = TypeVar("T")


class ModelCache:
    """The file at `path`, or nothing but memory. Safe to use from several threads; other processes may use the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._digests: dict[tuple[str, str], tuple[FileTime, str]] = {}
        self._seen_version = -1
        self._changes = 0
        if path is not None:
            self._safely(lambda connection: None, None)

    @classmethod
    def of(cls, data_dir: Path | None) -> ModelCache:
        """That of the program's own data."""
        return cls(None if data_dir is None else data_dir / FILE)

    def close(self) -> None:
        """Let go of the file; from then on there is nothing but memory."""
        with self._lock:
            self._drop()
            self._path = None

    def described(self, kind: str) -> dict[str, Described]:
        """What is kept of all files of a kind, by path, as this version of the program would find it."""

        def read(connection: sqlite3.Connection) -> dict[str, Described]:
            rows = connection.execute("SELECT path, name, stamp, item FROM described WHERE kind = ?", (kind,))
            return {path: (name, stamp, item) for path, name, stamp, item in rows}

        return self._safely(read, {})

    def keep_described(self, kind: str, rows: Iterable[tuple[str, Described]]) -> None:
        """Keep what was found of files."""
        values = [(kind, path, *row) for path, row in rows]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO described VALUES (?, ?, ?, ?, ?)", values)

        if values:
            self._write(write)

    def digest(self, path: str, what: str, at: FileTime) -> str | None:
        """A digest of a file as it is now, where it is known. what: of which part of it."""
        with self._lock:
            self._refresh()
            known = self._digests.get((path, what))
        return known[1] if known is not None and known[0] == at else None

    def keep_digest(self, path: str, what: str, at: FileTime, digest: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)", (path, what, *at, digest))

        with self._lock:
            self._refresh()
            self._digests[path, what] = at, digest
            self._changes += 1
            self._write(write)

    @property
    def changes(self) -> int:
        """Another number whenever a digest has become known, in whichever process."""
        with self._lock:
            self._refresh()
            return self._changes

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drop what is kept of files that are gone for good."""

        def write(connection: sqlite3.Connection) -> None:
            for table in ("described", "digests"):
                paths = [row[0] for row in connection.execute(f"SELECT DISTINCT path FROM {table}") if gone(row[0])]
                connection.executemany(f"DELETE FROM {table} WHERE path = ?", [(path,) for path in paths])

        self._write(write)

    def _refresh(self) -> None:
        """Read the digests anew where another process has written some."""

        def read(connection: sqlite3.Connection) -> None:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            if version == self._seen_version:
                return
            rows = connection.execute("SELECT path, what, time, size, digest FROM digests")
            self._digests |= {(path, what): ((time, size), digest) for path, what, time, size, digest in rows}
            self._seen_version = version
            self._changes += 1

        self._safely(read, None)

    def _write(self, write: Callable[[sqlite3.Connection], None]) -> None:
        def whole(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                write(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

        self._safely(whole, None)

    def _safely(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `act` gives; `otherwise` where the file cannot be used, which is told once."""
        with self._lock:
            try:
                connection = self._connection or self._connect()
                return act(connection) if connection is not None else otherwise
            except sqlite3.DatabaseError as error:
                if code_of(error) in BROKEN and self._set_aside():
                    return otherwise
                if code_of(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    self._give_up(error)
            except OSError as error:
                self._give_up(error)
            return otherwise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self) -> sqlite3.Connection | None:
        if self._path is None:
            return None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _set_aside(self) -> bool:
        """A file that is none of ours is kept under another name, unless somebody has done so meanwhile."""
        assert self._path is not None
        self._drop()
        try:
            if is_broken(self._path):
                kept = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
                self._path.rename(kept)
                for companion in ("-wal", "-shm"):
                    self._path.with_name(self._path.name + companion).unlink(missing_ok=True)
                log.warning("%s is damaged: it is kept as %s, and model files are read anew", self._path, kept.name)
            self._digests.clear()
            self._seen_version = -1
            return self._connect() is not None
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return True

    def _give_up(self, error: Exception) -> None:
        log.warning("%s cannot be used, so model files are read anew at each start: %s", self._path, error)
        self._drop()
        self._path = None
