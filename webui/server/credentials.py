"""Where users and passwords come from: options, a file, the environment, or nowhere, in which case one is made up."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from webui.schema.errors import BadRequest

VARIABLE = "ATELIER_AUTH"
MADE_UP_USER = "atelier"
# Neither l, 1, o nor 0: it will be typed from a screen.
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Credentials:
    """passwords: of each user; empty: no login. made_up: the password was invented here and must be told."""

    passwords: dict[str, str]
    made_up: bool = False


def gather(
    given: Iterable[str], file: Path | None, environment: MutableMapping[str, str], *, exposed: bool, no_auth: bool
) -> Credentials:
    """Who may log in.

    given: "user:password" or several with commas between. exposed: others can reach the server.
    The variable ATELIER_AUTH is taken out of the environment, so that no child process inherits it.

    Raises:
        BadRequest: an entry is not "user:password", or the file cannot be read.
    """
    parts = [entry for text in given for entry in text.split(",")]
    parts += environment.pop(VARIABLE, "").split(",")
    if file is not None:
        parts += _lines(file)
    passwords = dict(_pair(entry) for entry in parts if entry.strip())
    if no_auth:
        if passwords:
            raise BadRequest("--no-auth and users with passwords exclude each other.", "Give one of the two.")
        return Credentials({})
    if passwords or not exposed:
        return Credentials(passwords)
    return Credentials({MADE_UP_USER: make_password()}, made_up=True)


def make_password() -> str:
    """A password of 80 random bits in groups of four letters."""
    letters = "".join(secrets.choice(LETTERS) for _ in range(16))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def readable_by_others(file: Path) -> bool:
    """Whether other users of this machine can read the file."""
    return os.name != "nt" and bool(file.stat().st_mode & 0o077)


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"The file {file} cannot be read: {error}.", "It holds one user:password a line.") from None
    return [line for line in lines if not line.startswith("#")]


def _pair(entry: str) -> tuple[str, str]:
    user, colon, password = entry.strip().partition(":")
    if not colon or not user or not password:
        raise BadRequest("A login is written user:password.", "For example: --auth ann:correct-horse")
    return user, password
