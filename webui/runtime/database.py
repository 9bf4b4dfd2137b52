"""One SQLite file, safe from several threads: short transactions on one connection behind a lock."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webui.schema.errors import DiskError

log = logging.getLogger(__name__)
_JOBS_AND_IMAGES = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    view TEXT NOT NULL
);
CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_state ON jobs (state) WHERE state IN ('queued', 'running');
CREATE TABLE images (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    path TEXT NOT NULL,
    info TEXT NOT NULL
);
CREATE INDEX images_by_job ON images (job_id, number);
CREATE INDEX images_by_owner ON images (owner, number);
"""
_HASHES = "CREATE TABLE hashes (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL);"
_NO_HASHES = "DROP TABLE hashes;"
STEPS = (_JOBS_AND_IMAGES, _HASHES, _NO_HASHES)
"""Each brings a file from one version to the next; a step that was released is never changed."""
VERSION = len(STEPS)


class Database:
    """The file at `path`, made when it is not there; a damaged one is set aside.

    Raises:
        DiskError: it cannot be opened or was written by a newer version of the program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                self._set_aside()
                self._connect()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. Raises DiskError when the file cannot be written."""
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read. Raises DiskError when the file cannot be read."""
        with self._lock, self._told():
            return self._connection.execute(query, values).fetchall()

    def _connect(self) -> None:
        self._connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._prepare()

    def _set_aside(self) -> None:
        """A damaged file must not keep the server from starting: history begins anew, pictures are files anyway."""
        self._connection.close()
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self._path.rename(kept)
        for companion in ("-wal", "-shm"):
            self._path.with_name(self._path.name + companion).unlink(missing_ok=True)
        log.warning("%s is damaged: it is kept as %s, and the list of jobs begins anew", self._path, kept.name)

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise DiskError(
                f"{self._path} was written by a newer version of this program.",
                "Start that version, or choose another folder with --data-dir.",
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        # a job that was accepted is not lost in a power cut
        self._connection.execute("PRAGMA synchronous = FULL")
        for number, step in enumerate(STEPS[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DiskError(
                f"{self._path} cannot be used: {error}.", "Free some space, or choose another folder with --data-dir."
            ) from error
