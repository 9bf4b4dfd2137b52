"""The control models in the models folder, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from webui.checkpoints.control import ControlInfo, UnknownControl, detect_control
from webui.checkpoints.files import is_model_file, walk
from webui.checkpoints.header import read_header
from webui.checkpoints.listing import HASH_IN_NAME, Listing, Naming, find, near, refuse_pickle
from webui.checkpoints.notes import read_sidecar
from webui.schema.errors import AtelierError, NotFound

FOLDERS = ("ControlNet", "T2I-Adapter", "IP-Adapter")
DIFFUSERS_STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class ControlModel:
    """A file as pages list it. info: what it is; None where `error` says why it cannot be used.

    unknown: it is sound, but of no kind that is known here; an extension's adapter may know it.
    """

    name: str
    path: Path
    bytes: int = 0
    info: ControlInfo | None = None
    error: str = ""
    unknown: bool = False

    @property
    def kind(self) -> str:
        return self.info.kind if self.info else ""

    @property
    def family(self) -> str:
        return self.info.family if self.info else ""


Models = list[ControlModel]


class ControlCatalogue:
    """Control models under `models_dir`: ControlNet, T2I-Adapter, IP-Adapter and below them."""

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self._listing = Listing(partial(_files, self.models_dir), describe_control)

    def list(self) -> Models:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._listing.list(), key=lambda model: model.name.lower())

    def find(self, name: str) -> ControlModel:
        """The file of this name; "name [a1b2c3d4]", its file's name and its last part alone do as well.

        Raises:
            NotFound: with names that are near.
        """
        models, plain = self.list(), HASH_IN_NAME.sub("", name)
        found = find(models, plain, _NAMINGS, lambda model: not model.error)
        if found is not None:
            return found
        like = near(plain, [model.name for model in models if not model.error], first=3)
        raise NotFound(
            f"There is no control model {name!r} in {self.models_dir / FOLDERS[0]}.",
            f"Put its .safetensors file there, or use one of: {like}." if like else "Put its file there.",
        )


def describe_control(path: Path, name: str, size: int = 0) -> ControlModel:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        refuse_pickle(path)
        return ControlModel(name, path, size, detect_control(read_header(path), name, beside(path)))
    except UnknownControl as error:
        return ControlModel(name, path, size, error=str(error), unknown=True)
    except AtelierError as error:
        return ControlModel(name, path, size, error=str(error))


def beside(path: Path) -> dict[str, Any]:
    """What stands beside a file: the JSON file of its name, or a diffusers folder's config.json."""
    if path.stem.startswith(DIFFUSERS_STEM):
        try:
            data = json.loads((path.parent / "config.json").read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}
    return read_sidecar(path)


def _files(models_dir: Path) -> Iterator[tuple[Path, str]]:
    """Files and their names: the path below their folder without the ending; of a diffusers folder, its own name."""
    for folder in FOLDERS:
        root = models_dir / folder
        for path in walk(root, True):
            if is_model_file(path):
                named = path.parent if path.stem.startswith(DIFFUSERS_STEM) and path.parent != root else path
                name = named.relative_to(root)
                yield path, (name if named is path.parent else name.with_suffix("")).as_posix()


_NAMINGS: tuple[Naming[ControlModel], ...] = (
    lambda model: (model.name,),
    lambda model: (model.path.name, model.name.rsplit("/", 1)[-1]),
)
"""What a name may be, the most exact first."""
