"""Reading the tensors of a checkpoint, from as many files as it has; they stay memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from webui.checkpoints.expected import SCALES
from webui.checkpoints.kinds import some
from webui.checkpoints.source import Checkpoint


class Reader:
    """Name in an ldm single file -> tensor. `taken` are the names that were asked for. To be used as a context."""

    def __init__(self, source: Checkpoint) -> None:
        self.taken: set[str] = set()
        self._source = source
        self._stack = ExitStack()
        self._files: dict[Path, Any] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, name: str) -> Tensor:
        """A tensor of the checkpoint; one in fp8 with a scale of its own as float32."""
        self.taken.add(name)
        tensor = self._read(name)
        for scale in SCALES if name.endswith(".weight") else ():
            if (scaled := name.removesuffix(".weight") + scale) in self._source.header.tensors:
                factors = self._read(scaled).to(torch.float32)  # one, or one per row
                return tensor.to(torch.float32) * factors.reshape(-1, *[1] * (tensor.ndim - 1))
        return tensor

    def _read(self, name: str) -> Tensor:
        place = self._source.place(name)
        if place.file not in self._files:
            self._files[place.file] = self._stack.enter_context(safe_open(place.file, framework="pt", device="cpu"))
        tensor: Tensor = self._files[place.file].get_tensor(place.name)
        return tensor


def unknown_note(name: str, unknown: Sequence[str]) -> str:
    """What the user of a checkpoint is told of tensors that nothing reads; "" where there are none."""
    if not unknown:
        return ""
    count = "1 tensor that is" if len(unknown) == 1 else f"{len(unknown)} tensors that are"
    return f"{name} has {count} not used: {some(list(unknown))}. It may be of another kind than it looks like."
