"""The control models in the models folder, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.checkpoints.control import ControlInfo, UnknownControl, detect_control
from webui.checkpoints.files import Stamp, is_model_file, stamp_of, walk
from webui.checkpoints.header import PICKLES, read_header
from webui.checkpoints.notes import read_sidecar
from webui.schema.errors import AtelierError, ModelError, NotFound

FOLDERS = ("ControlNet", "T2I-Adapter", "IP-Adapter")
DIFFUSERS_STEM = "diffusion_pytorch_model"
_HASH_IN_NAME = re.compile(r"\s*\[[0-9a-fA-F]{6,64}\]\s*$")


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
    """Control models under `models_dir`: ControlNet, T2I-Adapter, IP-Adapter and below them.

    A file is looked at once, and again when it changes. Safe to use from several threads.
    """

    def __init__(self, models_dir: str | Path) -> None:
        self.models_dir = Path(models_dir)
        self._known: dict[Path, tuple[Stamp, ControlModel]] = {}
        self._lock = threading.Lock()

    def list(self) -> Models:
        """All files by name, also those that cannot be used: their `error` says why."""
        return sorted(self._scan(), key=lambda model: model.name.lower())

    def find(self, name: str) -> ControlModel:
        """The file of this name; "name [a1b2c3d4]", its file's name and its last part alone do as well.

        Raises:
            NotFound: with names that are near.
        """
        models = self.list()
        plain = _HASH_IN_NAME.sub("", name)
        for names in _NAMINGS:
            for model in models:
                if plain.lower() in [known.lower() for known in names(model)]:
                    return model
        known = [model.name for model in models if not model.error]
        near = difflib.get_close_matches(plain, known, 3, 0.4) or known[:3]
        raise NotFound(
            f"There is no control model {name!r} in {self.models_dir / FOLDERS[0]}.",
            f"Put its .safetensors file there, or use one of: {', '.join(near)}." if near else "Put its file there.",
        )

    def _scan(self) -> Models:
        with self._lock:
            present = dict(_files(self.models_dir))
            found: dict[Path, tuple[Stamp, ControlModel]] = {}
            for path, name in present.items():
                try:
                    stamp = stamp_of(path)
                except OSError:  # gone since it was listed, or a broken link
                    continue
                known = self._known.get(path)
                found[path] = known if known and known[0] == stamp else (stamp, describe_control(path, name, stamp[1]))
            self._known = found
            return [model for _, model in found.values()]


def describe_control(path: Path, name: str, size: int = 0) -> ControlModel:
    """What the header of a file says, or in `error` why it cannot be used. size: bytes."""
    try:
        if path.suffix.lower() in PICKLES:
            raise ModelError(
                f"{path.name} is a pickle, which could run foreign code; it was not opened.",
                f"Convert it: python3 launch.py models convert {shlex.quote(str(path))}",
            )
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


_NAMINGS: tuple[Callable[[ControlModel], tuple[str, ...]], ...] = (
    lambda model: (model.name,),
    lambda model: (model.path.name, model.name.rsplit("/", 1)[-1]),
)
"""What a name may be, the most exact first."""
