"""Model files as cards of a page: which of them are asked for, in which order, and what a card shows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from webui.checkpoints.header import PICKLES
from webui.modelfiles.beside import CIVITAI, PICTURES, Note, read_note
from webui.networks.catalogue import NetworkFile
from webui.networks.family import FAMILY_NAMES
from webui.networks.inventory import Item

Sort = Literal["name", "date", "size"]
WORDS: Final = 8
"""Trigger words on a card."""
TAGS: Final[Mapping[str, str]] = {"lora": "lora", "hypernetwork": "hypernet"}
"""Kinds that stand in a prompt as a tag -> its name."""


@dataclass(frozen=True)
class Wanted:
    """The cards that a page asks for. kind, family, folder: "" for all; family: files that tell none are in it too."""

    kind: str = ""
    search: str = ""
    family: str = ""
    folder: str = ""
    sort: Sort = "name"
    down: bool = False
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True)
class Cards:
    """total: of all that are wanted, of which `cards` are some; kinds: how many there are of each, whatever is wanted;
    folders: of the wanted kind."""

    total: int
    cards: tuple[dict[str, Any], ...]
    kinds: Mapping[str, int] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def pick(items: Sequence[Item], wanted: Wanted) -> Cards:
    """The cards that are wanted."""
    of_kind = [item for item in items if wanted.kind in ("", item.kind)]
    words = wanted.search.lower().split()
    found = [
        item for item in of_kind if _in_folder(item, wanted.folder) and _fits(item, wanted.family) and _has(item, words)
    ]
    found.sort(key=_ORDER[wanted.sort], reverse=wanted.down)
    shown = found[wanted.offset : wanted.offset + wanted.limit]
    names = {folder: _names(folder) for folder in {item.path.parent for item in shown}}
    doubled = doubled_names(items)
    return Cards(
        len(found),
        tuple(_card(item, names[item.path.parent], doubled) for item in shown),
        dict(Counter(item.kind for item in items)),
        tuple(sorted({folder for item in of_kind for folder in _folders(item)}, key=str.lower)),
    )


def words_of(item: Item) -> tuple[str, ...]:
    """The trigger words of a file."""
    entry = item.entry
    return entry.info.triggers if isinstance(entry, NetworkFile) and entry.info is not None else ()


def tag_of(item: Item, doubled: frozenset[tuple[str, str]]) -> str:
    """What stands for a file in a prompt, without its weight; "" for what does not stand there.

    doubled: last parts of names that several files have.
    """
    short = item.name.rpartition("/")[2]
    name = item.name if (item.kind, short.lower()) in doubled else short
    if item.kind in TAGS:
        return f"{TAGS[item.kind]}:{name}"
    return item.name if item.kind == "embedding" else ""


def _card(item: Item, names: frozenset[str], doubled: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """names: of the files in its folder."""
    picture, note = _picture(item.path, names), _note(item.path, names)
    return {
        "id": item.id, "kind": item.kind, "name": item.name, "folder": _folder(item), "type": item.type,
        "family": item.family, "family_name": FAMILY_NAMES.get(item.family, item.family), "bytes": item.bytes,
        "modified": item.modified, "bad": bool(item.error), "pickle": item.path.suffix.lower() in PICKLES,
        "words": list(words_of(item)[:WORDS]), "activation": note.activation, "negative": note.negative,
        "weight": note.weight, "own": item.own, "tag": tag_of(item, doubled),
        "picture": f"{picture:x}" if picture else "",
    }  # fmt: skip


def _folder(item: Item) -> str:
    """Where it lies: the folder below its place, behind the place's label where that is not the program's own."""
    below = item.file.rpartition("/")[0]
    return below if item.own else "/".join(filter(None, (item.where, below)))


def _folders(item: Item) -> Iterable[str]:
    """Its folder and those around it."""
    steps = _folder(item).split("/")
    return ("/".join(steps[:count]) for count in range(1, len(steps) + 1) if steps[0])


def _in_folder(item: Item, folder: str) -> bool:
    return not folder or f"{_folder(item)}/".startswith(f"{folder}/")


def _fits(item: Item, family: str) -> bool:
    return not family or item.kind == "checkpoint" or item.family in ("", family)


def _has(item: Item, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = " ".join((item.name, item.type, FAMILY_NAMES.get(item.family, item.family), _folder(item), *words_of(item)))
    text = text.lower()
    return all(word in text for word in words)


def _picture(path: Path, names: frozenset[str]) -> int:
    """When the preview picture of a file was written; 0 without one."""
    stem = _stem(path)
    name = next((stem + ending for ending in PICTURES if stem + ending in names), None)
    return 0 if name is None else _time(path.parent / name)


def _note(path: Path, names: frozenset[str]) -> Note:
    """What the user says of a file; nothing is opened where nothing lies beside it."""
    stem = _stem(path)
    return read_note(path) if {f"{stem}.json", f"{stem}{CIVITAI}"} & names else Note()


def _stem(path: Path) -> str:
    """What the names of files beside it begin with."""
    return path.stem if path.suffix.lower() in (".safetensors", *PICKLES) else path.name


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def doubled_names(items: Iterable[Item]) -> frozenset[tuple[str, str]]:
    """(kind, last part of the name) that several files have, of those that stand in prompts as tags."""
    counts = Counter((item.kind, item.name.rpartition("/")[2].lower()) for item in items if item.kind in TAGS)
    return frozenset(name for name, count in counts.items() if count > 1)


_ORDER: Final[Mapping[Sort, Any]] = {
    "name": lambda item: (item.name.rpartition("/")[2].lower(), item.name.lower(), item.kind),
    "date": lambda item: (item.modified, item.name.lower()),
    "size": lambda item: (item.bytes, item.name.lower()),
}
