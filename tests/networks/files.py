"""Network files for tests: random LoRAs of a model's layers in the spellings of their trainers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.nn.weights import draw


def header_only(path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, Any] | None = None) -> Path:
    """A sound file of tensors of these shapes, all zero."""
    return write(path, {name: torch.zeros(shape) for name, shape in shapes.items()}, metadata)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, texts)
    return path


def kohya(layers: Iterable[str], out: int, width: int, rank: int = 4) -> dict[str, tuple[int, ...]]:
    """Shapes of a LoRA on these layers in kohya's spelling."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        shapes |= {f"{layer}.lora_up.weight": (out, rank), f"{layer}.lora_down.weight": (rank, width)}
        shapes[f"{layer}.alpha"] = ()
    return shapes


def lora(name: str, weight: Tensor, seed: int, rank: int = 2, alpha: float | None = 1.0) -> dict[str, Tensor]:
    """A random LoRA in kohya's parts for one weight (out in ...)."""
    kernel = weight.shape[2:]
    tensors = {
        f"{name}.lora_up.weight": 0.3 * draw(weight.shape[0], rank, *(1 for _ in kernel), seed=seed),
        f"{name}.lora_down.weight": 0.3 * draw(rank, *weight.shape[1:], seed=seed + 1),
    }
    return tensors if alpha is None else {**tensors, f"{name}.alpha": torch.tensor(alpha)}


def delta(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """What such a LoRA adds, (out in ...)."""
    up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
    alpha = tensors.get(f"{name}.alpha")
    scale = 1.0 if alpha is None else float(alpha) / len(down)
    return (up.flatten(1) @ down.flatten(1)).unflatten(1, down.shape[1:]) * scale
