"""Everything that is known of one model file: its header, how it was trained, what stands beside it. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.control import ControlInfo
from webui.checkpoints.expected import expected_names, unknown_names
from webui.checkpoints.header import Header, read_header
from webui.checkpoints.kinds import kind_of_file
from webui.checkpoints.names import vae_names
from webui.checkpoints.notes import read_sidecar
from webui.checkpoints.parts import parts_of
from webui.checkpoints.source import open_checkpoint
from webui.modelfiles.beside import Note, files_beside, read_note
from webui.networks.detect import NetworkInfo, detect_network
from webui.networks.embeddings import EmbeddingInfo
from webui.networks.family import FAMILY_NAMES
from webui.networks.files import beside as network_beside
from webui.networks.hypernetworks import HypernetworkInfo
from webui.networks.inventory import Item
from webui.nn.config import SD15, SDXL, X4_UPSCALER
from webui.schema.errors import AtelierError, ModelError
from webui.schema.results import ModelInfo

TAGS: Final = 60
"""Tags of the training pictures that are told, the most frequent first."""
UNREAD: Final = 12
"""Tensors that are named of those that are not understood, or missing."""
UPSCALER_LEVELS: Final = len(X4_UPSCALER.vae.channel_mult)
"""Of the only autoencoder with fewer than the others have."""
LONGEST: Final = 2000
"""Letters of a metadata value that are told."""
THUMBNAIL: Final = "modelspec.thumbnail"
_TRAINING: Final[Mapping[str, str]] = {
    "ss_sd_model_name": "base_model", "ss_base_model_version": "base_version", "ss_network_module": "network_module",
    "ss_network_dim": "network_dim", "ss_network_alpha": "network_alpha", "ss_resolution": "resolution",
    "ss_num_train_images": "training_images", "ss_num_epochs": "epochs", "ss_steps": "steps",
    "ss_learning_rate": "learning_rate", "ss_optimizer": "optimizer", "ss_clip_skip": "clip_skip",
    "ss_noise_offset": "noise_offset", "ss_output_name": "output_name", "ss_training_comment": "comment",
}  # fmt: skip
"""kohya's names -> ours."""
_DTYPES: Final[Mapping[str, str]] = {
    "F16": "fp16", "BF16": "bf16", "F32": "fp32", "F64": "fp64", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)",
}  # fmt: skip

Fact = str | int | float | bool


@dataclass(frozen=True)
class FileInfo:
    """facts: by name, in the order in which they are shown; training: the same of how it was trained; tags: of the
    training pictures, with how often; metadata: of the header; beside: names of the files that are read with it;
    unread: tensors of no known kind, and missing: those that a checkpoint needs (some of each, then how many more);
    guess: what it looks like, where it cannot be used as what it lies there for."""

    facts: Mapping[str, Fact]
    training: Mapping[str, str] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    note: Note = field(default_factory=Note)
    metadata: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    guess: str = ""


def inform(item: Item) -> FileInfo:
    """What is known of a model file. A damaged one is told of by what lies around it."""
    path, note = item.path, read_note(item.path)
    try:
        header = open_checkpoint(path).header if path.is_dir() else read_header(path)
    except (ModelError, OSError):
        return FileInfo(dict(_common(item, None)), note=note, triggers=note.triggers, beside=tuple(files_beside(path)))
    network = _network(header, path) if item.kind == "lora" else None
    kind = kind_of_file(header) if item.error else None
    facts = {**dict(_common(item, header)), **dict(_own(item, header, network))}
    return FileInfo(
        facts,
        {ours: header.metadata[theirs] for theirs, ours in _TRAINING.items() if _said(header, theirs)},
        note.triggers or (network.triggers if network else ()),
        _tags(header),
        note,
        {name: text[:LONGEST] for name, text in sorted(header.metadata.items()) if _is_shown(name)},
        tuple(files_beside(path)),
        *_tensors(item, network),
        f"It looks like {kind.what}." if kind else "",
    )


def _tensors(item: Item, network: NetworkInfo | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of no known kind, and those that are missing."""
    if network is not None:
        return _some(network.unread), ()
    if not isinstance(item.entry, ModelInfo) or item.error:
        return (), ()
    try:
        checkpoint = open_checkpoint(item.path)
        expected = expected_names(checkpoint.header, checkpoint.config())
    except AtelierError:
        return (), ()
    tensors = checkpoint.header.tensors
    return _some(unknown_names(tensors, expected)), _some(sorted(expected - tensors.keys()))


def _some(names: Sequence[str]) -> tuple[str, ...]:
    return (*names[:UNREAD], *((f"and {len(names) - UNREAD} more",) if len(names) > UNREAD else ()))


def thumbnail_of(path: Path) -> str:
    """The picture in a header, as a data address; "" where there is none."""
    try:
        return read_header(path).metadata.get(THUMBNAIL, "")
    except (ModelError, OSError):
        return ""


def _common(item: Item, header: Header | None) -> Iterator[tuple[str, Fact]]:
    yield "kind", item.type or item.kind
    if item.family:
        yield "family", FAMILY_NAMES.get(item.family, item.family)
    yield "bytes", item.bytes
    if header is None:
        return
    counts = Counter(_DTYPES.get(tensor.dtype, tensor.dtype) for tensor in header.tensors.values())
    rest = [f"{name} ({count})" for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    yield "format", next(iter(counts), "") if len(counts) == 1 else ", ".join(rest)
    yield "tensors", len(header.tensors)
    yield "parameters", sum(math.prod(tensor.shape) for tensor in header.tensors.values())


def _own(item: Item, header: Header, network: NetworkInfo | None) -> Iterator[tuple[str, Fact]]:
    """What a file of this kind has of its own."""
    entry: Any = item.entry
    known = getattr(entry, "info", None)
    if isinstance(entry, ModelInfo) and not entry.error:
        yield from _checkpoint(item.path, entry)
    if network is not None:
        yield "layers", ", ".join(network.kinds)
        yield "names", network.style
    if isinstance(known, EmbeddingInfo):
        yield "vectors", known.vectors
        yield "channels", ", ".join(map(str, known.widths))
    if isinstance(known, HypernetworkInfo):
        yield "channels", ", ".join(map(str, known.widths))
        yield "activation", known.activation or "none"
    if isinstance(known, ControlInfo):
        yield "control", known.kind
    if item.kind == "vae" and not item.error:
        yield from _vae(item.path, header)


def _checkpoint(path: Path, entry: ModelInfo) -> Iterator[tuple[str, Fact]]:
    yield "predicts", {"epsilon": "noise", "v": "v", "sample": "the picture"}.get(entry.prediction, entry.prediction)
    yield "native_size", entry.native_size
    if entry.extra != "none":
        yield "reads_also", entry.extra
    if entry.variant:
        yield "distilled", entry.variant
    try:
        config = open_checkpoint(path).config()
    except AtelierError:
        return
    yield "zero_terminal_snr", config.schedule.zero_terminal_snr
    yield "text_encoders", len(config.texts)


def _vae(path: Path, header: Header) -> Iterator[tuple[str, Fact]]:
    """SD 1.x' and SDXL's have the same tensors of the same shapes: only what is said of one tells them apart."""
    latents = parts_of(header).latents
    if latents:
        yield "latents", f"{latents} channels"
    levels = {name.split(".")[2] for name in vae_names(header.tensors) if name.startswith("encoder.down.")}
    said = f"{header.metadata.get('modelspec.architecture', '')} {read_sidecar(path).get('scaling_factor', '')}".lower()
    if len(levels) == UPSCALER_LEVELS:
        yield "made_for", "the x4 upscaler"
    elif "-xl" in said or str(SDXL.vae.scale_factor) in said:
        yield "made_for", "SDXL"
    elif "stable-diffusion-v" in said or str(SD15.vae.scale_factor) in said:
        yield "made_for", "SD 1.x / 2.x"
    else:
        yield "made_for", "SD 1.x / 2.x or SDXL: the file does not tell"


def _network(header: Header, path: Path) -> NetworkInfo | None:
    try:
        return detect_network(header, network_beside(path))
    except ModelError:
        return None


def _tags(header: Header) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for tags in header.object("ss_tag_frequency").values():
        if isinstance(tags, dict):
            counts.update({str(tag).strip(): count for tag, count in tags.items() if isinstance(count, int)})
    return tuple(counts.most_common(TAGS))


def _said(header: Header, name: str) -> bool:
    return header.metadata.get(name, "None") not in ("None", "", "null")


def _is_shown(name: str) -> bool:
    """Whether a metadata value is told as it is: neither a picture nor what is told otherwise."""
    return name != THUMBNAIL and name not in ("ss_tag_frequency", "ss_bucket_info", "ss_dataset_dirs", "ss_datasets")
