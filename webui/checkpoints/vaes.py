"""The VAE files at hand: under models/VAE, and beside checkpoints. No torch; nothing of the weights is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from webui.checkpoints.files import walk
from webui.checkpoints.header import PICKLES, read_header
from webui.checkpoints.kinds import some
from webui.checkpoints.listing import Listing, Naming, find, near, refuse_pickle
from webui.checkpoints.names import vae_names
from webui.schema.errors import AtelierError, ModelError, NotFound
from webui.schema.generation import AUTOMATIC_VAE, OWN_VAE

FOLDER = "VAE"
BESIDE = ("Stable-diffusion", "")
"""Where checkpoints lie; files there are VAEs when they are called X.vae.safetensors."""


@dataclass(frozen=True)
class VAEFile:
    """A file as pages list it; `error` says why it cannot be used."""

    name: str
    path: Path
    error: str = ""


class VAECatalogue:
    """VAE files under `models_dir`: in the folder VAE and below it, and beside checkpoints (X.vae.safetensors)."""

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self._listing = Listing(partial(_files, self.models_dir), describe_vae)

    def list(self) -> list[VAEFile]:
        """All files by name, also those that cannot be used."""
        return sorted(self._listing.list(), key=lambda file: file.name.lower())

    def find(self, name: str) -> VAEFile:
        """The file of this name, or of this file name.

        Raises:
            NotFound: with names that are near. ModelError: it cannot be used.
        """
        files = self.list()
        found = find(files, name, _NAMINGS, lambda file: not file.error)
        if found is None:
            like = near(name, [file.name for file in files if not file.error], first=3)
            cure = f"Put its .safetensors file into {self.models_dir / FOLDER}"
            raise NotFound(f"There is no VAE {name!r}.", f"{cure}, or use one of: {like}." if like else f"{cure}.")
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


def describe_vae(path: Path, name: str, _size: int = 0) -> VAEFile:
    """What the header of a file says, or in `error` why it cannot be used."""
    try:
        refuse_pickle(path)
        header = read_header(path)
        if not vae_names(header.tensors):
            raise ModelError(f"this is no VAE; it holds {some(sorted(header.tensors))}.")
        return VAEFile(name, path)
    except AtelierError as error:
        return VAEFile(name, path, str(error))


def _files(models_dir: Path) -> Iterator[tuple[Path, str]]:
    for path in walk(models_dir / FOLDER, True):
        if _is_weights(path):
            yield path, path.relative_to(models_dir / FOLDER).with_suffix("").as_posix()
    for place in BESIDE:
        root = models_dir / place
        for path in walk(root, bool(place)):
            if _is_weights(path) and path.stem.lower().endswith(".vae"):
                yield path, path.relative_to(root).with_suffix("").as_posix()


def _is_weights(path: Path) -> bool:
    """Whether a file is listed: a pickle only as long as it is not converted."""
    ending = path.suffix.lower()
    plain = ending == ".safetensors" or (ending in PICKLES and not path.with_suffix(".safetensors").exists())
    return plain and not path.name.startswith(".")


_NAMINGS: tuple[Naming[VAEFile], ...] = (
    lambda file: (file.name,),
    lambda file: (file.path.name, file.name.rsplit("/", 1)[-1]),
)
"""What a name may be, the most exact first."""
