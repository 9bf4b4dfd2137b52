"""The files that had a part in a picture, and how its text names them: A1111's `Lora hashes` and `TI hashes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webui.checkpoints.cache import ModelCache
from webui.checkpoints.digests import WEIGHTS, WHOLE, Digest, digest_of

SHORT = 12
LABELS: Mapping[str, str] = {"lora": "Lora hashes", "embedding": "TI hashes"}
DIGESTS: Mapping[str, Digest] = {"lora": WEIGHTS, "embedding": WHOLE}
"""Kind of file -> its label, and which sha256 it is known by."""


@dataclass(frozen=True)
class ActedFile:
    """name: by which the prompt called it."""

    kind: Literal["lora", "embedding"]
    name: str
    path: Path


class Hashes:
    """Reads each file once, and again when it has changed. cache: keeps what was read."""

    def __init__(self, cache: ModelCache | None = None) -> None:
        self._cache = cache or ModelCache()

    def labels(self, files: Iterable[ActedFile]) -> dict[str, str]:
        """Label -> "name: hash, name: hash" in the order of the files; one that cannot be read any more is left out."""
        found: dict[str, dict[str, str]] = {}
        for file in files:
            short = self._short(file)
            if short:
                name = file.name.replace(":", "").replace(",", "")
                found.setdefault(LABELS[file.kind], {})[name] = short
        return {label: ", ".join(f"{name}: {short}" for name, short in named.items()) for label, named in found.items()}

    def _short(self, file: ActedFile) -> str:
        try:
            return digest_of(file.path, DIGESTS[file.kind], self._cache)[:SHORT]
        except OSError:
            return ""
