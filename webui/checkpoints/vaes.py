"""The VAE files at hand: under models/VAE, and beside checkpoints. No torch; nothing of the weights is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.disk import SOON, Folder
from webui.checkpoints.entries import Listing
from webui.checkpoints.files import Stamp, weight_names
from webui.checkpoints.forms import Entry, Memory, Spot, spots_of
from webui.checkpoints.header import read_header
from webui.checkpoints.kinds import VAES, wrong_kind
from webui.checkpoints.listing import near, refuse_pickle
from webui.checkpoints.names import vae_names
from webui.checkpoints.places import Place, Places
from webui.checkpoints.trees import shown_home
from webui.schema.errors import AtelierError, ModelError, NotFound
from webui.schema.generation import AUTOMATIC_VAE, OWN_VAE


@dataclass(frozen=True)
class VAEFile:
    """A file as pages list it; `error` says why it cannot be used."""

    name: str
    path: Path
    error: str = ""
    bytes: int = 0


class Form:
    """How VAE files are listed: those of VAE folders, and those beside checkpoints."""

    kind = "vae"
    index = ""

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        files = weight_names(folder)
        if place.kind != self.kind:
            files = (name for name in files if os.path.splitext(name)[0].lower().endswith(".vae"))
        return spots_of(place, folder, files, lambda stem: False)

    def describe(self, path: Path, name: str, size: int) -> VAEFile:
        return describe_vae(path, name, size)

    def names(self, item: VAEFile) -> Sequence[Sequence[str]]:
        return (item.name,), (item.path.name, item.name.rsplit("/", 1)[-1])

    def usable(self, item: VAEFile) -> bool:
        return not item.error

    def dump(self, item: VAEFile, stamp: Stamp) -> str | None:
        return ""

    def load(self, text: str, path: Path, name: str, size: int) -> VAEFile:
        return VAEFile(name, path, bytes=size)


class VAECatalogue:
    """VAE files of all places: in their folders VAE and below them, and beside checkpoints (X.vae.safetensors)."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        self._places = Places.of(where)
        places = (*self._places.of_kind("vae"), *self._places.of_kind("checkpoint"))
        self._listing = Listing(places, Form(), memory or Memory())

    def list(self) -> list[VAEFile]:
        """All files by name, also those that cannot be used."""
        return [entry.item for entry in self.entries()]

    def entries(self, age: float = SOON) -> Sequence[Entry[VAEFile]]:
        """The same, with where they lie. age: seconds that a look at the disk may be old."""
        return self._listing.snapshot(age).by_name

    def find(self, name: str) -> VAEFile:
        """The file of this name, or of this file name.

        Raises:
            NotFound: with names that are near. ModelError: it cannot be used.
        """
        entry = self._listing.find(name)
        if entry is None:
            like = near(name, [file.name for file in self.list() if not file.error], first=3)
            cure = f"Put its .safetensors file into {shown_home('vae')}"
            raise NotFound(f"There is no VAE {name!r}.", f"{cure}, or use one of: {like}." if like else f"{cure}.")
        found = entry.item
        if found.error:
            raise ModelError(f"The VAE {found.name} cannot be used: {found.error}", "Choose another one.")
        return found

    def chosen(self, wanted: str, checkpoint: Path) -> Path | None:
        """The file that a checkpoint's pictures go through; None: its own VAE.

        Automatic is the file beside the checkpoint that has its name (X.vae.safetensors), or the one in the folder VAE
        that has it (X.safetensors, X.vae.safetensors); else its own. One that cannot be used is passed over then.

        Raises:
            NotFound, ModelError: as `find`, for a name.
        """
        if wanted == OWN_VAE:
            return None
        if wanted != AUTOMATIC_VAE:
            return self.find(wanted).path
        usable = [file.path for file in self.list() if not file.error]
        stem = checkpoint.stem if checkpoint.is_file() else checkpoint.name
        mine = [path for path in usable if path.name.removesuffix(".safetensors").removesuffix(".vae") == stem]
        mine.sort(key=lambda path: path.parent != checkpoint.parent)
        return mine[0] if mine else None


def describe_vae(path: Path, name: str, size: int = 0) -> VAEFile:
    """What the header of a file says, or in `error` why it cannot be used."""
    try:
        refuse_pickle(path)
        header = read_header(path)
        if not vae_names(header.tensors):
            raise wrong_kind(header, "VAE", VAES, "Put a VAE of Stable Diffusion 1.x, 2.x or SDXL here.")
        return VAEFile(name, path, bytes=size)
    except AtelierError as error:
        return VAEFile(name, path, str(error), size)
