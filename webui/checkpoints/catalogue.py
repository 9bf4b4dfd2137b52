"""The checkpoints in the models folder, known by their headers: no torch, and nothing of the weights is read.

A checkpoint is a file, or a folder in diffusers' layout, whose name is the folder's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webui.checkpoints.digests import WHOLE, read_digests
from webui.checkpoints.disk import SOON, Folder
from webui.checkpoints.entries import Listing
from webui.checkpoints.files import Stamp, model_files
from webui.checkpoints.folder import INDEX, is_model_folder
from webui.checkpoints.forms import Entry, Memory, Spot, name_below, spots_of
from webui.checkpoints.header import Header
from webui.checkpoints.listing import HASH_IN_NAME, near, refuse_pickle
from webui.checkpoints.places import Place, Places
from webui.checkpoints.snapshot import Snapshot
from webui.checkpoints.source import open_checkpoint
from webui.checkpoints.support import check_supported, kind_hint
from webui.checkpoints.trees import shown_home
from webui.checkpoints.vaes import VAECatalogue
from webui.checkpoints.variants import find_variant
from webui.nn.config import ModelConfig
from webui.schema.errors import AtelierError, ModelError, NotFound
from webui.schema.results import ModelInfo

FOLDER = "Stable-diffusion"
ABOUT_KEY = "atelier.about"

Entries = tuple[Entry[ModelInfo], ...]


class Form:
    """How checkpoints are listed."""

    kind = "checkpoint"
    index = INDEX

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        below = name_below(place, folder)
        if below and INDEX in folder.files:
            return iter((Spot("", below),))
        return spots_of(place, folder, model_files(folder), lambda stem: False)

    def describe(self, path: Path, name: str, size: int) -> ModelInfo:
        return describe(path, name, name if path.is_dir() else f"{name}{path.suffix}", size)

    def names(self, item: ModelInfo) -> Sequence[Sequence[str]]:
        return (item.name,), (item.file,), (item.name.rsplit("/")[-1], item.file.rsplit("/")[-1])

    def usable(self, item: ModelInfo) -> bool:
        return not item.error

    def dump(self, item: ModelInfo, stamp: Stamp) -> str | None:
        return None if stamp[2] else item.model_dump_json()  # a JSON file may say that parts lie elsewhere

    def load(self, text: str, path: Path, name: str, size: int) -> ModelInfo:
        return ModelInfo.model_validate_json(text)


class Catalogue:
    """Checkpoints of all places: in their folders and below them, and in a folder of models itself.

    where: the places, or the folder of models alone. vaes: VAE files. Safe to use from several threads.
    """

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        self.places = Places.of(where)
        self.memory = memory or Memory()
        self.vaes = VAECatalogue(self.places, self.memory)
        self._listing = Listing(self.places.of_kind("checkpoint"), Form(), self.memory)
        self._hashed: tuple[Snapshot[ModelInfo], int, Entries] | None = None

    @property
    def models_dir(self) -> Path:
        """The program's own folder of models."""
        return self.places.models_dir

    def list(self) -> list[ModelInfo]:
        """All model files by name, also those that cannot be used: their `error` says why."""
        return [entry.item for entry in self.entries()]

    def entries(self, age: float = SOON) -> Entries:
        """The same, with where they lie. age: seconds that a look at the disk may be old."""
        now, changes = self._listing.snapshot(age), self.memory.cache.changes
        if self._hashed is None or self._hashed[:2] != (now, changes):
            self._hashed = now, changes, tuple(map(self._with_hash, now.by_name))
        return self._hashed[2]

    def find(self, name: str) -> ModelInfo:
        """The model of this name: its name, its file's name, either with a hash as in "name [6ce0161689]", or the hash.
        Of several files of one name a hash tells which.

        Raises:
            NotFound: with names that are near.
        """
        return self._entry(name).item

    def path(self, name: str) -> Path:
        """The file of a model. Raises NotFound as `find`."""
        return self._entry(name).path

    def sha256(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> str | None:
        """The sha256 of a model's file, from then on also in its `ModelInfo`; None when cancelled on the way.

        The whole file is read: seconds for gigabytes. Raises NotFound as `find`, ModelError when it cannot be read.
        """
        entry = self._entry(name)
        if entry.item.sha256 is not None:
            return entry.item.sha256
        try:
            return read_digests(entry.path, self.memory.cache, watch=lambda count: cancelled()).get(WHOLE)
        except OSError as error:
            raise ModelError(
                f"{entry.path.name} cannot be read: {error.strerror or error}.", "Check the disk."
            ) from error

    def config(self, name: str) -> ModelConfig:
        """The architecture of a checkpoint, from its header. Raises NotFound, ModelError."""
        return open_checkpoint(self.path(name)).config()

    def _entry(self, name: str) -> Entry[ModelInfo]:
        hashed = HASH_IN_NAME.search(name)
        found = self._listing.find(name[: hashed.start()] if hashed else name)
        if found is not None:
            found = self._with_hash(found)
        start = hashed[1] if hashed else name
        if found is None or (hashed and found.item.sha256 is not None and not _has_hash(found.item, start)):
            found = next((entry for entry in self.entries() if _has_hash(entry.item, start)), found)
        if found is None:
            raise self._not_found(name, name[: hashed.start()] if hashed else name)
        return found

    def _not_found(self, name: str, plain: str) -> NotFound:
        like = near(plain, [info.name for info in self.list() if not info.error], first=3)
        return NotFound(
            f"There is no model {name!r} in {shown_home('checkpoint')}.",
            f"Put its .safetensors file there, or use one of: {like}." if like else "Put its file there.",
        )

    def _with_hash(self, entry: Entry[ModelInfo]) -> Entry[ModelInfo]:
        digest = self.memory.cache.digest(str(entry.path), WHOLE, entry.stamp[:2])
        return entry if digest is None else replace(entry, item=entry.item.model_copy(update={"sha256": digest}))


def describe(path: Path, name: str, file: str, size: int) -> ModelInfo:
    """What the header of a file says, or in `error` why the model cannot be used. size: bytes."""
    plain = ModelInfo(name=name, file=file, bytes=size)
    try:
        refuse_pickle(path)
        checkpoint = open_checkpoint(path)
        config = checkpoint.config()
        kind = {"family": config.family, "native_size": config.native_size}
        plain = plain.model_copy(update={**kind, "prediction": config.prediction, "extra": config.extra})
        check_supported(config)
    except AtelierError as error:
        return plain.model_copy(update={"error": str(error)})
    said = {**_suggested(name, checkpoint.header), **_about(checkpoint.header)}
    return plain.model_copy(update={**kind_hint(config.extra), **said})


def _has_hash(info: ModelInfo, start: str) -> bool:
    """Whether the file's sha256 is known and begins so, in at least six digits."""
    return info.sha256 is not None and len(start) >= 6 and info.sha256.startswith(start.lower())


def _about(header: Header) -> dict[str, Any]:
    """Hint, examples and settings of a header, whatever else stands there."""
    about = header.object(ABOUT_KEY)
    if not about:
        return {}
    examples, settings = about.get("examples"), about.get("settings")
    listed = examples if isinstance(examples, list) else []
    named = settings if isinstance(settings, dict) else {}
    return {
        "hint": str(about.get("hint") or ""),
        "examples": tuple(text for text in listed if isinstance(text, str)),
        "settings": {name: value for name, value in named.items() if type(value) in (int, float, str)},
    }


def _suggested(name: str, header: Header) -> dict[str, Any]:
    """Hint and settings of a few-step variant; nothing where it is none."""
    variant = find_variant(name.rsplit("/")[-1], header.metadata.get("modelspec.title", ""))
    if variant is None:
        return {}
    return {"variant": variant.name, "hint": variant.hint, "settings": variant.settings}


def place_of(path: Path) -> tuple[Path, str]:
    """The models folder that a checkpoint at a path belongs to, and what it is found by there.

    That is the folder around `Stable-diffusion`, or else the one that it lies in.

    Raises:
        ModelError: the path is that of a folder which is no model.
    """
    path = path.absolute()
    if path.is_dir() and not is_model_folder(path):
        raise ModelError(
            f"{path} is no model: there is no {INDEX} in it.", "Name a folder in diffusers' layout, or a file."
        )
    root = next((folder for folder in path.parents if folder.name == FOLDER), None)
    return (path.parent, path.name) if root is None else (root.parent, path.relative_to(root).as_posix())
