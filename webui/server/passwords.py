"""Passwords are kept as scrypt digests, never as they are."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.runtime.files import write_atomically

# 16 MiB and some 50 ms a try: RFC 7914, section 2.
COST, BLOCK, LANES = 2**14, 8, 1


@dataclass(frozen=True)
class Verifier:
    """What a password is checked against."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> Verifier:
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt))

    def accepts(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt), self.digest)

    @property
    def name(self) -> str:
        """Changes whenever the password does: what was opened with an older one can be told by it."""
        return self.salt.hex()


class Users:
    """Who may log in.

    Their digests are kept in `file` (readable by its owner alone), so that a user who is given with the same password
    at the next start has the same verifier, and stays logged in.
    """

    def __init__(self, file: Path, passwords: Mapping[str, str]) -> None:
        known = _read(file)
        self._verifiers = {name: _verifier(known.get(name), password) for name, password in passwords.items()}
        self._nobody = Verifier.of(secrets.token_hex(16))
        if self._verifiers:
            kept = {name: [item.salt.hex(), item.digest.hex()] for name, item in self._verifiers.items()}
            write_atomically(file, json.dumps(kept).encode())

    def accepts(self, name: str, password: str) -> bool:
        """Whether this is a user with this password. Takes as long for an unknown name."""
        verifier = self._verifiers.get(name)
        return (verifier or self._nobody).accepts(password) and verifier is not None

    def verifier_name(self, user: str) -> str | None:
        """Names the present password of a user; None for an unknown one."""
        verifier = self._verifiers.get(user)
        return verifier.name if verifier else None


def _verifier(known: Verifier | None, password: str) -> Verifier:
    return known if known is not None and known.accepts(password) else Verifier.of(password)


def _read(file: Path) -> dict[str, Verifier]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {name: Verifier(bytes.fromhex(salt), bytes.fromhex(digest)) for name, (salt, digest) in data.items()}
    except (OSError, ValueError, AttributeError, TypeError):  # missing or damaged: everybody logs in again
        return {}


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, dklen=32)
