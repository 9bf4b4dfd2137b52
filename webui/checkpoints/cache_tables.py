"""The tables of the cache of model files, and whether a file is one of ours. For `webui.checkpoints.cache` alone."""

from __future__ import annotations

import hashlib
import sqlite3
from functools import cache
from pathlib import Path
from typing import Final

APPLICATION: Final = 0x41544C4D
VERSION: Final = 1
_TABLES = """
CREATE TABLE described (
    kind TEXT NOT NULL, path TEXT NOT NULL, name TEXT NOT NULL, stamp TEXT NOT NULL, item TEXT NOT NULL,
    PRIMARY KEY (kind, path)
) WITHOUT ROWID;
CREATE TABLE digests (
    path TEXT NOT NULL, what TEXT NOT NULL, time INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (path, what)
) WITHOUT ROWID;
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
BROKEN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def prepare(connection: sqlite3.Connection) -> None:
    """Tables of this version, with nothing that another version of the program said of files.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or of another program.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _make(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _make(connection: sqlite3.Connection) -> None:
    marks = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if marks != (APPLICATION, VERSION):
        if tables and marks[0] != APPLICATION:
            error = sqlite3.DatabaseError("it is the file of another program")
            error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
            raise error
        for table in tables:
            connection.execute(f'DROP TABLE "{table}"')
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    program = connection.execute("SELECT value FROM about WHERE key = 'program'").fetchone()
    if program != (_program(),):
        connection.execute("DELETE FROM described")
        connection.execute("INSERT OR REPLACE INTO about VALUES ('program', ?)", (_program(),))


def code_of(error: sqlite3.Error) -> int | None:
    """What SQLite calls an error; None for one of its Python module."""
    return getattr(error, "sqlite_errorcode", None)


def is_broken(path: Path) -> bool:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None)
    try:
        prepare(connection)
        return connection.execute("PRAGMA quick_check").fetchone() != ("ok",)
    except sqlite3.DatabaseError as error:
        return code_of(error) in BROKEN
    finally:
        connection.close()


@cache
def _program() -> str:
    """What changes when the program may find something else in a header: its modules that look at them."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for folder in ("checkpoints", "networks", "nn", "schema"):
        for file in sorted((root / folder).glob("*.py")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
