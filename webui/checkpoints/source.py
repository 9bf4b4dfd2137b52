"""A checkpoint as one, whatever its layout: a single file, a diffusers folder, or parts that a JSON file joins.

`Checkpoint.header` has the names of an ldm single file; `place` says in which file a tensor lies, and under which name.
Parts are joined by a JSON file beside a U-Net (or beside a checkpoint that lacks one of them):

    {"atelier.parts": {"vae": "../VAE/vae.safetensors", "texts": ["../text_encoder/clip_l.safetensors"]}}

and `depth` names the estimator of a depth model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.checkpoints.depth import DEPTH, depth_names
from webui.checkpoints.detect import detect_config
from webui.checkpoints.folder import (
    DEPTH_FOLDER,
    TEXT_FOLDERS,
    UNET_FOLDER,
    VAE_FOLDER,
    folder_facts,
    is_model_folder,
    weight_files,
)  # fmt: skip
from webui.checkpoints.header import Header, TensorInfo, read_header
from webui.checkpoints.layouts import UNET, VAE
from webui.checkpoints.names import Renamed, text_names, unet_names, vae_names
from webui.checkpoints.notes import Notes, read_notes
from webui.nn.config import ModelConfig
from webui.schema.errors import ModelError

PARTS_KEY = "atelier.parts"
_ONE_TEXT = ("cond_stage_model.",)
_TWO_TEXTS = ("conditioner.embedders.0.", "conditioner.embedders.1.")


@dataclass(frozen=True)
class Place:
    """Where a tensor lies."""

    file: Path
    name: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint under the names of an ldm single file. moved: where those tensors lie that are not at `path` under
    their own name; notes: what stands beside it."""

    path: Path
    header: Header
    notes: Notes = field(default_factory=Notes)
    moved: Mapping[str, Place] = field(default_factory=dict)

    def place(self, name: str) -> Place:
        """Where a tensor of the header lies."""
        return self.moved.get(name) or Place(self.path, name)

    def config(self) -> ModelConfig:
        """The architecture. Raises ModelError: it is no Stable Diffusion checkpoint, or cannot be used."""
        return detect_config(self.header, self.notes)


def open_checkpoint(path: Path) -> Checkpoint:
    """What the headers of a checkpoint say, none of the weights being read.

    path: a safetensors file, or a folder with a `model_index.json`.

    Raises:
        ModelError: a file of it is damaged or missing.
    """
    if is_model_folder(path):
        return _folder(path)
    header, notes = read_header(path), read_notes(path)
    parts = notes.sidecar.get(PARTS_KEY)
    return _joined(path, header, notes, parts) if parts else Checkpoint(path, header, notes)


def checkpoint_files(path: Path) -> tuple[Path, ...]:
    """The files that a checkpoint's hash is taken of: the file, or those with the U-Net of a folder."""
    return weight_files(path / UNET_FOLDER) if is_model_folder(path) else (path,)


Moved = dict[str, tuple[Place, TensorInfo]]
"""Our name -> where it lies, and what its header says."""


def _folder(path: Path) -> Checkpoint:
    unet = weight_files(path / UNET_FOLDER)
    if not unet:
        raise ModelError(f"{path.name} has no folder {UNET_FOLDER}.", "Use a model of Stable Diffusion 1.x, 2.x or XL.")
    texts = [path / name for name in TEXT_FOLDERS if (path / name).is_dir()]
    moved = {
        **_moved(unet, unet_names, UNET, "U-Net"),
        **_moved(weight_files(path / VAE_FOLDER), vae_names, VAE, "VAE"),
        **_texts([weight_files(part) for part in texts]),
        **_moved(weight_files(path / DEPTH_FOLDER), depth_names, DEPTH, "depth estimator"),
    }
    try:
        facts = folder_facts(path, texts)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ModelError(
            f"A config of the folder {path.name} cannot be used: {error}.", "Download it again."
        ) from error
    return _checkpoint(path, moved, read_header(unet[0]).metadata, read_notes(path, facts))


def _joined(path: Path, header: Header, notes: Notes, parts: Any) -> Checkpoint:
    """A file whose missing parts lie elsewhere, as the JSON file beside it says."""
    if not isinstance(parts, Mapping):
        raise ModelError(f"{PARTS_KEY} beside {path.name} is no JSON object.", "See docs/models.md.")
    moved: Moved = {name: (Place(path, name), tensor) for name, tensor in header.tensors.items()}
    if f"{UNET}input_blocks.0.0.weight" not in moved:
        moved = _moved((path,), unet_names, UNET, "U-Net")
    if vae := parts.get("vae"):
        moved |= _moved((_beside(path, vae),), vae_names, VAE, "VAE")
    if texts := parts.get("texts"):
        moved |= _texts([(_beside(path, text),) for text in (texts if isinstance(texts, list) else [texts])])
    if depth := parts.get("depth"):
        moved |= _moved((_beside(path, depth),), depth_names, DEPTH, "depth estimator")
    return _checkpoint(path, moved, header.metadata, notes)


def _checkpoint(path: Path, moved: Moved, metadata: Mapping[str, str], notes: Notes) -> Checkpoint:
    header = Header({name: tensor for name, (_, tensor) in moved.items()}, metadata)
    return Checkpoint(path, header, notes, {name: place for name, (place, _) in moved.items()})


def _beside(path: Path, name: Any) -> Path:
    found = path.parent / str(name)
    if not found.is_file():
        raise ModelError(f"{name}, which {PARTS_KEY} beside {path.name} names, is not there.", "Check the path.")
    return found


def _texts(texts: list[tuple[Path, ...]]) -> Moved:
    places = _ONE_TEXT if len(texts) == 1 else _TWO_TEXTS
    if len(texts) > len(places):
        raise ModelError(f"The model has {len(texts)} text encoders.", "Stable Diffusion 1.x, 2.x and XL have 1 or 2.")
    moved: Moved = {}
    for files, prefix in zip(texts, places, strict=False):
        moved |= _moved(files, text_names, prefix, "text encoder")
    return moved


def _moved(files: Iterable[Path], naming: Callable[[Iterable[str]], Renamed], prefix: str, what: str) -> Moved:
    """The tensors of one part behind our prefix, all its files together; nothing where there are no files."""
    held = {name: (Place(file, name), tensor) for file in files for name, tensor in read_header(file).tensors.items()}
    renamed = naming(held)
    if held and not renamed:
        file = next(iter(held.values()))[0].file
        raise ModelError(f"{file.name} holds no {what} that is known here.", "Use another file.")
    return {prefix + ours: held[theirs] for ours, theirs in renamed.items()}
