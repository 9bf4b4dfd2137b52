"""Model files and their items, as a library lists them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from webui.checkpoints.files import stamp_of
from webui.checkpoints.header import read_header
from webui.checkpoints.places import Place
from webui.networks.catalogue import NetworkFile
from webui.networks.detect import detect_network
from webui.networks.embeddings import describe_embedding
from webui.networks.files import beside
from webui.networks.inventory import Item
from webui.schema.errors import ModelError

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def write_lora(path: Path, metadata: dict[str, Any] | None = None, width: int = 768) -> Path:
    """A LoRA of one layer that reads `width` channels of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{LAYER}.lora_up.weight": np.zeros((320, 4), np.float16),
        f"{LAYER}.lora_down.weight": np.zeros((4, width), np.float16),
        f"{LAYER}.alpha": np.zeros((), np.float16),
    }
    texts = {name: text if isinstance(text, str) else json.dumps(text) for name, text in (metadata or {}).items()}
    save_file(tensors, str(path), texts or None)
    return path


def write_embedding(path: Path) -> Path:
    """8 vectors for SD 1.x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": np.zeros((8, 768), np.float32)}, str(path))
    return path


def item_of(path: Path, root: Path, kind: str = "lora", **more: Any) -> Item:
    """The item of a file below the folder `root`."""
    file = path.relative_to(root).as_posix()
    name = file.rpartition(".")[0]
    entry: Any = describe_embedding(path, name) if kind == "embedding" else _network(path, name)
    given = {
        "kind": kind, "name": name, "path": path, "place": Place(kind, root, root.name, own=True),  # type: ignore[arg-type]
        "stamp": stamp_of(path), "type": "LoRA",
        "family": entry.info.family if entry.info else "", "said": "", "error": entry.error, "sha256": None,
        "entry": entry,
    }  # fmt: skip
    return Item(**{**given, **more})  # type: ignore[arg-type]


def _network(path: Path, name: str) -> NetworkFile:
    try:
        return NetworkFile(name, path, info=detect_network(read_header(path), beside(path)))
    except ModelError as error:
        return NetworkFile(name, path, error=str(error))


def picture(colour: str, size: tuple[int, int] = (640, 480), form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()
