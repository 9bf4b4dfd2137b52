"""What lies among models and is not read: unfinished downloads, archives, folders that nobody knows. No torch."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.disk import WEIGHTS, is_text
from webui.checkpoints.places import Places
from webui.checkpoints.trees import COMFY, KINDS, OWN, shown_home
from webui.networks.inventory import LISTED

_UNFINISHED = "an unfinished download: let it come to its end, or delete it"
_ARCHIVE = "an archive: unpack it, and put what is in it into the folder of its kind"
ENDINGS = {
    **dict.fromkeys((".part", ".crdownload", ".download", ".aria2", ".incomplete", ".!ut", ".!qb"), _UNFINISHED),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".gz"), _ARCHIVE),
    ".onnx": "a model for ONNX, which is not supported: get it as .safetensors",
    ".msgpack": "weights for Flax, which are not supported: get them as .safetensors",
    ".h5": "weights for TensorFlow, which are not supported: get them as .safetensors",
}
"""Endings of files that are not listed, and what those are."""


@dataclass(frozen=True)
class Stray:
    """A file or folder that is not read, and why."""

    path: Path
    said: str


def strays(places: Places) -> Iterator[Stray]:
    """Files among those of every place that look as if they were meant to be models; then folders with models in the
    program's own tree that are no place."""
    folders = dict.fromkeys(place.folder for kind in KINDS for place in places.of_kind(kind) if place.deep)
    for folder in folders:
        for path in _files(folder):
            said = ENDINGS.get(path.suffix.lower()) or _spelled(path)
            if said:
                yield Stray(path, said)
    yield from _unread(places)


def _unread(places: Places) -> Iterator[Stray]:
    """The folders of the own tree whose models nobody lists."""
    own = {place.folder.name: kind for kind in KINDS for place in places.of_kind(kind) if place.own and place.deep}
    folders = sorted(places.models_dir.iterdir()) if places.models_dir.is_dir() else []
    for folder in folders:
        if not folder.is_dir() or folder.name.startswith(".") or own.get(folder.name) in LISTED:
            continue
        count = sum(path.suffix.lower() in WEIGHTS for path in _files(folder))
        if count:
            files = "1 file" if count == 1 else f"{count} files"
            yield Stray(folder, f"{files}, {_why(folder.name, own.get(folder.name, ''))}")


def _files(root: Path) -> Iterator[Path]:
    """The files of a folder and below it; links are followed, no folder is read twice, hidden ones are left out."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        if real not in seen:
            yield from (Path(folder, name) for name in sorted(files))
        seen.add(real)


def _spelled(path: Path) -> str:
    """What is wrong with the name of a model file."""
    if path.suffix.lower() not in WEIGHTS or is_text(str(path)):
        return ""
    return "a name that is not in UTF-8, as older archives have: give the file, or its folder, another one"


def _why(name: str, kind: str) -> str:
    if kind == "text_encoder":
        return "each read where the JSON file of a U-Net names it"
    if kind == "preprocessor":
        return "read by the extensions that fetched them"
    if kind:
        return "for which there is no use yet"
    comfy = next((kind for kind, names in COMFY.items() if name in names), None)
    if comfy is not None:
        return f"not read: its place is {shown_home(comfy)}, or name a ComfyUI as a whole with --extra-models-dir"
    known = {folder.lower(): kind for kind, some in OWN.items() for folder in some}
    near = difflib.get_close_matches(name.lower(), known, 1, 0.75)
    return (
        f"not read: its place is {shown_home(known[near[0]])}" if near else "not read: nothing here knows this folder"
    )
