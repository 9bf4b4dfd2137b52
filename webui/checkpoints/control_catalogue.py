"""The control models in the models folder, known by their headers: no torch, and nothing of the weights is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from webui.checkpoints.control import ControlInfo, UnknownControl, detect_control
from webui.checkpoints.disk import SOON, Folder
from webui.checkpoints.entries import Listing
from webui.checkpoints.files import Stamp, model_files
from webui.checkpoints.forms import Entry, Memory, Spot, spots_of
from webui.checkpoints.header import read_header
from webui.checkpoints.listing import HASH_IN_NAME, near, refuse_pickle
from webui.checkpoints.notes import read_sidecar
from webui.checkpoints.places import Place, Places
from webui.checkpoints.plain_json import object_in
from webui.checkpoints.trees import shown_home
from webui.schema.errors import AtelierError, NotFound

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


class Form:
    """How control models are listed; those of a diffusers folder go by its name."""

    kind = "controlnet"
    index = ""

    def __init__(self) -> None:
        self._info = TypeAdapter(ControlInfo)

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        return spots_of(place, folder, model_files(folder), lambda stem: stem.startswith(DIFFUSERS_STEM))

    def describe(self, path: Path, name: str, size: int) -> ControlModel:
        return describe_control(path, name, size)

    def names(self, item: ControlModel) -> Sequence[Sequence[str]]:
        return (item.name,), (item.path.name, item.name.rsplit("/", 1)[-1])

    def usable(self, item: ControlModel) -> bool:
        return not item.error

    def dump(self, item: ControlModel, stamp: Stamp) -> str | None:
        return None if item.info is None else self._info.dump_json(item.info).decode()

    def load(self, text: str, path: Path, name: str, size: int) -> ControlModel:
        return ControlModel(name, path, size, self._info.validate_json(text))


class ControlCatalogue:
    """Control models of all places: ControlNet, T2I-Adapter, IP-Adapter and below them."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        self.places = Places.of(where)
        self._listing = Listing(self.places.of_kind("controlnet"), Form(), memory or Memory())

    @property
    def models_dir(self) -> Path:
        """The program's own folder of models."""
        return self.places.models_dir

    def list(self) -> Models:
        """All files by name, also those that cannot be used: their `error` says why."""
        return [entry.item for entry in self.entries()]

    def entries(self, age: float = SOON) -> Sequence[Entry[ControlModel]]:
        """The same, with where they lie. age: seconds that a look at the disk may be old."""
        return self._listing.snapshot(age).by_name

    def find(self, name: str) -> ControlModel:
        """The file of this name; "name [a1b2c3d4]", its file's name and its last part alone do as well.

        Raises:
            NotFound: with names that are near.
        """
        plain = HASH_IN_NAME.sub("", name)
        found = self._listing.find(plain)
        if found is not None:
            return found.item
        like = near(plain, [model.name for model in self.list() if not model.error], first=3)
        raise NotFound(
            f"There is no control model {name!r} in {shown_home('controlnet')}.",
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
        return object_in(path.parent / "config.json")
    return read_sidecar(path)
