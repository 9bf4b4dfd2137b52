"""Which folders hold which kind of model: the program's own, then those that the user has elsewhere. No torch.

Folders need not be there: one that comes later, as a network share does, is read from then on. Nothing is written to
a further folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.checkpoints.comfy_paths import read_comfy_paths
from webui.checkpoints.trees import BESIDE_MODELS, COMFY, KINDS, OWN, Kind, Layout
from webui.prompt.prompt_files import PromptFiles

_MODELS = "models"
_SPOILS_TAGS = re.compile(r"[<>:,\[\]()|/\\\s]+")
"""What a name in a prompt or in a picture's text cannot have."""


@dataclass(frozen=True)
class Place:
    """A folder with files of one kind. label: goes before the name of a file where an earlier place has one of that
    name; deep: whether folders in it belong to it; own: it is of the program's own tree."""

    kind: Kind
    folder: Path
    label: str
    deep: bool = True
    own: bool = False


@dataclass(frozen=True)
class Extra:
    """Folders beside the program's own, the first before the others. roots: what the user named, to tell which of it
    is gone; prompts: the styles and wildcards there."""

    places: tuple[Place, ...] = ()
    roots: tuple[Path, ...] = ()
    prompts: PromptFiles = field(default_factory=PromptFiles)

    @classmethod
    def of(
        cls,
        folders: Mapping[Kind, Sequence[Path]] | None = None,
        trees: Sequence[Path] = (),
        comfy: Sequence[Path] = (),
    ) -> Extra:
        """folders: with files of one kind; trees: folders of models, or installations of A1111, Forge or ComfyUI, with
        all that is in them; comfy: ComfyUI's `extra_model_paths.yaml`.

        Raises:
            BadRequest: such a file cannot be read; with its line.
        """
        single = {kind: [_absolute(folder) for folder in some] for kind, some in (folders or {}).items()}
        roots = [_absolute(tree) for tree in trees]
        sections = [section for file in comfy for section in read_comfy_paths(_absolute(file))]
        sections.sort(key=lambda section: not section.first)
        found = [Place(kind, folder, _name_of(folder)) for kind, some in single.items() for folder in some]
        for root in roots:
            found += _places_of_tree(root)
        for section in sections:
            found += [Place(kind, folder, section.name) for kind, folder in section.folders]
        named = [*(folder for some in single.values() for folder in some), *roots, *(one.root for one in sections)]
        prompts = sum((_prompts_of_tree(root) for root in roots), PromptFiles())
        return cls(tuple(_relabelled(found)), tuple(dict.fromkeys(named)), prompts)

    def to_json(self) -> dict[str, Any]:
        """The value as JSON has it, for another process."""
        return {
            "places": [[place.kind, str(place.folder), place.label, place.deep] for place in self.places],
            "roots": [str(root) for root in self.roots],
            "styles": [str(path) for path in self.prompts.styles],
            "wildcards": [str(path) for path in self.prompts.wildcards],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Extra:
        return cls(
            tuple(Place(kind, Path(folder), label, deep) for kind, folder, label, deep in data["places"]),
            _paths(data["roots"]),
            PromptFiles(_paths(data["styles"]), _paths(data["wildcards"])),
        )


@dataclass(frozen=True)
class Places:
    """All folders. models_dir: the program's own, where new files go."""

    models_dir: Path
    extra: Extra = field(default_factory=Extra)

    @classmethod
    def of(cls, where: Places | Path | str) -> Places:
        """The places of a folder of models alone; places as they are."""
        return where if isinstance(where, Places) else cls(Path(where))

    def of_kind(self, kind: Kind) -> tuple[Place, ...]:
        """The folders with files of a kind, the program's own first. Of two files of one name the first counts."""
        return (*_own_places(self.models_dir, kind), *(place for place in self.extra.places if place.kind == kind))

    def home(self, kind: Kind) -> Path:
        """Where new files of a kind are put. It need not be there yet."""
        return self.models_dir / OWN[kind][0]

    def file(self, named: Path) -> Path:
        """The file that a path means: as it stands, or as `shown_path` shows one; the path itself where none is."""
        below = Path(*named.parts[1:]) if named.parts[:1] == (_MODELS,) else named
        folders = dict.fromkeys(place.folder for kind in KINDS for place in self.of_kind(kind))
        candidates = (named, *(root / below for folder in folders for root in (folder.parent, folder)))
        return next((path for path in candidates if path.is_file()), named)

    @property
    def prompts(self) -> PromptFiles:
        """The styles and wildcards of all places."""
        return PromptFiles.beside(self.models_dir) + self.extra.prompts

    def missing(self) -> tuple[Path, ...]:
        """The folders that the user named and that are not there now."""
        return tuple(root for root in self.extra.roots if not root.is_dir())

    def to_json(self) -> str:
        return json.dumps({"models_dir": str(self.models_dir), "extra": self.extra.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Places:
        data = json.loads(text)
        return cls(Path(data["models_dir"]), Extra.from_json(data["extra"]))


def _own_places(models_dir: Path, kind: Kind) -> Iterator[Place]:
    for name in OWN[kind]:
        yield Place(kind, models_dir / name, name, own=True)
    if kind == "checkpoint":
        yield Place(kind, models_dir, _name_of(models_dir), deep=False, own=True)
    if kind == "embedding":
        beside = models_dir.absolute().parent / BESIDE_MODELS[kind][0]
        yield Place(kind, beside, BESIDE_MODELS[kind][0], own=True)


def _places_of_tree(root: Path) -> Iterator[Place]:
    """Every folder that a tree of a known program may have, be it a folder of models or the root above one."""
    label = _name_of(root)
    for models in (root / _MODELS, root):
        for layout in (OWN, COMFY):
            yield from _laid_out(models, layout, label)
        yield Place("checkpoint", models, label, deep=False)
    yield from _laid_out(root, BESIDE_MODELS, label)
    yield from _laid_out(root.parent, {"embedding": BESIDE_MODELS["embedding"]} if root.name == _MODELS else {}, label)


def _laid_out(models: Path, layout: Layout, label: str) -> Iterator[Place]:
    for kind in KINDS:
        yield from (Place(kind, models / name, label) for name in layout.get(kind, ()))


def _prompts_of_tree(root: Path) -> PromptFiles:
    """Styles and wildcards of an installation, those of its extensions as well."""
    of_extensions = tuple(sorted((root / "extensions").glob("*/wildcards")))
    models = root / _MODELS if (root / _MODELS).is_dir() else root
    return PromptFiles.beside(models) + PromptFiles((), of_extensions)


def _relabelled(places: Iterable[Place]) -> Iterator[Place]:
    """Each folder once for its kind, with labels that may stand in a prompt."""
    seen: set[tuple[Kind, Path, bool]] = set()
    for place in places:
        key = place.kind, place.folder, place.deep
        if key not in seen:
            seen.add(key)
            label = _SPOILS_TAGS.sub("_", place.label).strip("_") or "extra"
            yield Place(place.kind, place.folder, label, place.deep)


def _name_of(folder: Path) -> str:
    """What a folder is called: one that is called "models" by the folder around it."""
    named = folder.parent if folder.name.lower() == _MODELS and folder.parent.name else folder
    return named.name or _MODELS


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _paths(texts: Sequence[str]) -> tuple[Path, ...]:
    return tuple(map(Path, texts))
