"""What a user wants to be fetched, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Order:
    """What a user wants. what: an address or a place on the hub; to: "KIND/FOLDER", else the header tells; name: of the
    file, else the server's; variant: as `choose`; convert: turn a pickle into safetensors."""

    what: str
    to: str = ""
    sha256: str = ""
    revision: str = ""
    name: str = ""
    variant: str = ""
    convert: bool = False


@dataclass(frozen=True)
class Put:
    """A model that has come. what: "a LoRA"; folder: as the user knows it; new: False: it was there already."""

    path: Path
    what: str
    folder: str
    new: bool = True

    @property
    def said(self) -> str:
        there = "was there already, in" if not self.new else "is in"
        return f"{self.path.name} ({self.what.removeprefix('a ').removeprefix('an ')}) {there} {self.folder}."
