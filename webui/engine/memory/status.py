"""What is told of memory: what is used and free, and what is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from webui.engine.memory.machine import process_bytes

if TYPE_CHECKING:
    from webui.engine.models import Models


def memory_status(models: Models) -> dict[str, Any]:
    """As JSON. Numbers are bytes; None where nothing tells."""
    device = models.placement.device
    return {
        "mode": models.options.vram,
        "manner": models.memory.manner,
        "device": {"name": str(device), **_device(models)},
        "machine": {
            "total": models.machine.total,
            "free": models.machine.free,
            "used": process_bytes(),
            "kept": sum(held.bytes for held in models.garage),
            "budget": models.garage.budget,
        },
        "loaded": [_checkpoint(models, held) for held in models.garage],
    }


def _device(models: Models) -> dict[str, Any]:
    device = models.placement.device
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return {"total": total, "free": free, "used": torch.cuda.memory_allocated(device)}
    return {"total": None, "free": None, "used": sum(part.size.of(part.manner) for part in models.memory.here)}


def _checkpoint(models: Models, held: Any) -> dict[str, Any]:
    here = [part for part in held.executor.parts if part in models.memory.here]
    return {
        "name": held.name,
        "bytes": held.bytes,
        "on_device": sum(part.size.of(part.manner) for part in here),
        "present": held is models.garage.present,
    }
