"""The files that had a part in a picture, and how its text names them: A1111's `Lora hashes` and `TI hashes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webui.checkpoints.files import Stamp, stamp_of
from webui.networks.files import file_sha256, weights_sha256

SHORT = 12
Hash = Callable[[Path], str]
LABELS: Mapping[str, tuple[str, Hash]] = {
    "lora": ("Lora hashes", weights_sha256),
    "embedding": ("TI hashes", file_sha256),
}
"""Kind of file -> its label, and which sha256 it is known by."""


@dataclass(frozen=True)
class ActedFile:
    """name: by which the prompt called it."""

    kind: Literal["lora", "embedding"]
    name: str
    path: Path


class Hashes:
    """Reads each file once, and again when it has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, str], tuple[Stamp, str]] = {}

    def labels(self, files: Iterable[ActedFile]) -> dict[str, str]:
        """Label -> "name: hash, name: hash" in the order of the files; one that cannot be read any more is left out."""
        found: dict[str, dict[str, str]] = {}
        for file in files:
            short = self._short(file)
            if short:
                name = file.name.replace(":", "").replace(",", "")
                found.setdefault(LABELS[file.kind][0], {})[name] = short
        return {label: ", ".join(f"{name}: {short}" for name, short in named.items()) for label, named in found.items()}

    def _short(self, file: ActedFile) -> str:
        key = file.path, file.kind
        try:
            stamp = stamp_of(file.path)
            if key not in self._known or self._known[key][0] != stamp:
                self._known[key] = stamp, LABELS[file.kind][1](file.path)[:SHORT]
        except OSError:
            return ""
        return self._known[key][1]
