"""Model files in a folder, and how a change of one is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from webui.checkpoints.disk import WEIGHTS, Folder
from webui.checkpoints.folder import PARTS
from webui.checkpoints.notes import beside

Stamp = tuple[int, int, int, int]
"""Modification time in nanoseconds, size in bytes, modification times of the JSON and YAML files beside it (0: none).

Of a folder: the last of the times of its files and of its parts' files, and the size of the weights among them.
"""
SHARED_JSON: Mapping[str, str] = {"adapter_model": "adapter_config.json", "diffusion_pytorch_model": "config.json"}
"""Beginning of a file's name -> the JSON file beside it which peft and diffusers name alike in every folder."""


def model_files(folder: Folder) -> Iterator[str]:
    """The names of the weights in a folder: pickles only as long as they are not converted, and no VAE that belongs to
    a checkpoint (X.vae.safetensors)."""
    for name in weight_names(folder):
        if not name.rpartition(".")[0].lower().endswith(".vae"):
            yield name


def weight_names(folder: Folder) -> Iterator[str]:
    """All weights in a folder: pickles only as long as they are not converted."""
    safe = WEIGHTS[0]
    for name in folder.files:
        stem, ending = os.path.splitext(name)
        if ending.lower() == safe or (ending.lower() in WEIGHTS and stem + safe not in folder.files):
            yield name


def stamp_in(folder: Folder, name: str) -> Stamp:
    """What `stamp_of` says of a file in a folder, without another look at the disk."""
    stem, files = os.path.splitext(name)[0], folder.files
    none = (0, 0)
    json = max(files.get(f"{stem}.json", none)[0], files.get(_shared_json(name), none)[0])
    return *files[name], json, files.get(f"{stem}.yaml", none)[0]


def stamp_of(path: Path) -> Stamp:
    """What changes when the checkpoint, or what stands beside it, does. Raises OSError."""
    if path.is_dir():
        time, size = _folder_stamp(path)
    else:
        status = path.stat()
        time, size = status.st_mtime_ns, status.st_size
    shared = _shared_json(path.name)
    json = max(_time(beside(path, ".json")), _time(path.with_name(shared)) if shared else 0)
    return time, size, json, _time(beside(path, ".yaml"))


def _shared_json(name: str) -> str:
    return next((file for start, file in SHARED_JSON.items() if name.startswith(start)), "")


def _folder_stamp(path: Path) -> tuple[int, int]:
    parts = [part for part in (path, *(path / name for name in PARTS)) if part.is_dir()]
    files = [(entry.name, entry.stat()) for part in parts for entry in os.scandir(part) if entry.is_file()]
    size = sum(status.st_size for name, status in files if name.endswith(".safetensors"))
    return max(status.st_mtime_ns for _, status in files), size


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
