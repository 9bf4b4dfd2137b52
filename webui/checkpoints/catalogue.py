"""The checkpoints in the models folder, known by their headers: no torch, and nothing of the weights is read.

A checkpoint is a file, or a folder in diffusers' layout, whose name is the folder's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from webui.checkpoints.files import Stamp, is_model_file, stamp_of, walk
from webui.checkpoints.folder import INDEX, is_model_folder
from webui.checkpoints.header import Header
from webui.checkpoints.listing import HASH_IN_NAME, Listing, near, refuse_pickle
from webui.checkpoints.source import checkpoint_files, open_checkpoint
from webui.checkpoints.support import check_supported
from webui.checkpoints.vaes import VAECatalogue
from webui.checkpoints.variants import find_variant
from webui.nn.config import ModelConfig
from webui.schema.errors import AtelierError, ModelError, NotFound
from webui.schema.results import ModelInfo

FOLDER = "Stable-diffusion"
ABOUT_KEY = "atelier.about"
BLOCK = 8 * 1024 * 1024

Entries = list[tuple[Path, ModelInfo]]


class Catalogue:
    """Checkpoints under `models_dir`: in the folder Stable-diffusion and below it, and in `models_dir` itself.

    vaes: VAE files. A file is looked at once, and again when it changes. Safe to use from several threads.
    """

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self.vaes = VAECatalogue(models_dir)
        self._listing = Listing(partial(_files, self.models_dir), _described)
        self._hashes: dict[Path, tuple[Stamp, str]] = {}

    def list(self) -> list[ModelInfo]:
        """All model files by name, also those that cannot be used: their `error` says why."""
        return sorted((info for _, info in self._entries()), key=lambda info: info.name.lower())

    def find(self, name: str) -> ModelInfo:
        """The model of this name: its name, its file's name, either with a hash as in "name [6ce0161689]", or the hash.

        Raises:
            NotFound: with names that are near.
        """
        return self._entry(name)[1]

    def path(self, name: str) -> Path:
        """The file of a model. Raises NotFound as `find`."""
        return self._entry(name)[0]

    def sha256(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> str | None:
        """The sha256 of a model's file, from then on also in its `ModelInfo`; None when cancelled on the way.

        The whole file is read: seconds for gigabytes. Raises NotFound as `find`, ModelError when it cannot be read.
        """
        path, info = self._entry(name)
        if info.sha256 is not None:
            return info.sha256
        stamp, digest = stamp_of(path), file_sha256(path, cancelled)
        if digest is not None and stamp == stamp_of(path):
            self._hashes[path] = stamp, digest
        return digest

    def config(self, name: str) -> ModelConfig:
        """The architecture of a checkpoint, from its header. Raises NotFound, ModelError."""
        return open_checkpoint(self.path(name)).config()

    def _entry(self, name: str) -> tuple[Path, ModelInfo]:
        entries = self._entries()
        hashed = HASH_IN_NAME.search(name)
        plain = name[: hashed.start()] if hashed else name
        for matches, wanted in [(way, plain) for way in _WAYS] + [(_has_hash, hashed[1] if hashed else plain)]:
            found = [entry for entry in entries if matches(entry[1], wanted)]
            if found:
                return next((entry for entry in found if not entry[1].error), found[0])
        like = near(plain, [info.name for _, info in entries if not info.error], first=3)
        raise NotFound(
            f"There is no model {name!r} in {self.models_dir / FOLDER}.",
            f"Put its .safetensors file there, or use one of: {like}." if like else "Put its file there.",
        )

    def _entries(self) -> Entries:
        return [(path, self._hashed(path, info)) for path, info in self._listing.list()]

    def _hashed(self, path: Path, info: ModelInfo) -> ModelInfo:
        """With the sha256, where it is known of the file as it is now."""
        known = self._hashes.get(path)
        try:
            same = known is not None and known[0] == stamp_of(path)
        except OSError:
            same = False
        return info.model_copy(update={"sha256": known[1]}) if known and same else info


def _described(path: Path, name: str, size: int) -> tuple[Path, ModelInfo]:
    file = path.relative_to(path.parents[name.count("/")]).as_posix()
    return path, describe(path, name, file, size)


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
    return plain.model_copy(update={**_suggested(name, checkpoint.header), **_about(checkpoint.header)})


def file_sha256(path: Path, cancelled: Callable[[], bool] = lambda: False) -> str | None:
    """The sha256 of a file, or of the files of a folder's U-Net one after the other, read block by block.

    None when cancelled on the way. Raises ModelError.
    """
    digest = hashlib.sha256()
    try:
        for part in checkpoint_files(path):
            with part.open("rb") as file:
                while block := file.read(BLOCK):
                    if cancelled():
                        return None
                    digest.update(block)
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror or error}.", "Check the disk.") from error
    return digest.hexdigest()


_WAYS: tuple[Callable[[ModelInfo, str], bool], ...] = (
    lambda info, name: info.name == name,
    lambda info, name: info.file == name,
    lambda info, name: name in (info.name.rsplit("/")[-1], info.file.rsplit("/")[-1]),
    lambda info, name: name.lower() in (info.name.lower(), info.file.lower()),
)
"""What a name may be, the most exact first."""


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


def _files(models_dir: Path) -> Iterator[tuple[Path, str]]:
    """Model files and their names: the path below their root, without the ending."""
    for root, deep in ((models_dir / FOLDER, True), (models_dir, False)):
        for path in walk(root, deep, INDEX):
            name = path.relative_to(root)
            if path.name == INDEX:
                yield path.parent, name.parent.as_posix()
            elif is_model_file(path):
                yield path, name.with_suffix("").as_posix()
    folders = sorted(models_dir.iterdir()) if models_dir.is_dir() else ()
    yield from ((path, path.name) for path in folders if path.name != FOLDER and is_model_folder(path))


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
