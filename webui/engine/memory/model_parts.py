"""The parts of one checkpoint, as they come to the device and leave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from webui.checkpoints.header import Header
from webui.checkpoints.load import LoadedModel
from webui.engine.memory.parts import Part
from webui.engine.memory.plan import Size


class ModelParts:
    """text, unet, vae, and depth where it has that. name: of the checkpoint."""

    def __init__(self, model: LoadedModel, name: str) -> None:
        self._name = name
        self.text = Part(f"text of {name}", model.texts, "text")
        self.unet = Part(f"U-Net of {name}", [model.unet], "unet")
        self.vae = Part(f"VAE of {name}", [model.vae], "vae")
        depth: Any = getattr(model, "depth", None)
        self.depth = Part(f"depth of {name}", [depth], "vae") if isinstance(depth, nn.Module) else None

    def __iter__(self) -> Iterator[Part]:
        yield from (part for part in (self.text, self.unet, self.vae, self.depth) if part is not None)

    def use_vae(self, vae: nn.Module) -> None:
        """Another VAE from now on; the old one is at home."""
        self.vae = Part(f"VAE of {self._name}", [vae], "vae")

    @property
    def bytes(self) -> int:
        """Of all weights."""
        return sum(part.size.whole for part in self)

    @property
    def sizes(self) -> Mapping[str, Size]:
        return {part.name: part.size for part in self}


def header_bytes(header: Header, itemsize: int) -> int:
    """What the tensors of a file take once they are loaded, itemsize bytes for each number."""
    return sum(_count(tensor.shape) for tensor in header.tensors.values()) * itemsize


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
