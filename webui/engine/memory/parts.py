"""Modules that go to the device together and come back from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from webui.engine.memory.plan import Manner, Size
from webui.nn.streaming import AtHand, Mover, Streamed, put, weights_of
from webui.nn.unet import Encoder

Group = Literal["text", "unet", "vae"]
"""What takes turns on the device."""


@dataclass
class _Away:
    """Weights on the device. homes: their data in the machine's memory; copies: on the device."""

    weights: list[Tensor]
    homes: list[Tensor]
    copies: list[Tensor]


class Part:
    """One thing that moves. The home of its weights is the machine's memory, where alone they are ever changed: a copy
    goes to the device, and coming back is no more than forgetting the copy.

    group: it takes turns with those of other groups.
    """

    def __init__(self, name: str, modules: Sequence[nn.Module], group: Group) -> None:
        self.name = name
        self.group = group
        self.modules = tuple(modules)
        self.manner: Manner = "together"
        self._away: _Away | None = None
        self._paused: _Away | None = None

    @property
    def here(self) -> bool:
        """Whether it is on the device."""
        return self._away is not None

    @property
    def size(self) -> Size:
        """In bytes, as it is now."""
        whole = bytes_of(weight for module in self.modules for weight in weights_of(module))
        return Size(whole, whole - sum(_spared(module) for module in self.modules))

    def arrive(self, mover: Mover, manner: Manner) -> None:
        """Bring it to the mover's device. What is left of an earlier visit and still true is not copied again."""
        self.leave(pause=self.manner == manner)
        self.manner = manner
        weights = self._here_in(manner)
        homes = [weight.data for weight in weights]
        known = self._still_true()
        missing = [home for home in homes if home.data_ptr() not in known]
        arrived = {home.data_ptr(): mover.copy(home) for home in missing}
        copies = [known[home.data_ptr()] if home.data_ptr() in known else arrived[home.data_ptr()] for home in homes]
        put(weights, copies)
        self._away, self._paused = _Away(weights, homes, copies), None
        for module in self.modules:
            if isinstance(module, Encoder) and manner == "blocks":
                module.lender = Streamed(mover)

    def leave(self, pause: bool = False) -> None:
        """Every weight is again what it was. pause: keep the copies, so that only what is changed meanwhile is copied
        when it comes again."""
        for module in self.modules:
            if isinstance(module, Encoder) and isinstance(module.lender, Streamed):
                module.lender.take_back()
                module.lender = AtHand()
        if self._away is None:
            self._paused = self._paused if pause else None
            return
        put(self._away.weights, self._away.homes)
        self._paused, self._away = (self._away if pause else None), None
        for module in self.modules:
            for stray in weights_of(module):
                if stray.device.type != "cpu":  # made meanwhile, by an adapter for example
                    put([stray], [stray.data.to("cpu")])

    def _still_true(self) -> dict[int, Tensor]:
        """Address of a home -> the copy of it that waits on the device."""
        if self._paused is None:
            return {}
        pairs = zip(self._paused.homes, self._paused.copies, strict=True)
        return {home.data_ptr(): copy for home, copy in pairs if home.data_ptr()}

    def _here_in(self, manner: Manner) -> list[Tensor]:
        """The weights that are on the device all the time."""
        weights = {id(weight): weight for module in self.modules for weight in weights_of(module)}
        if manner == "blocks":
            for module in self.modules:
                for weight in _streamed(module):
                    weights.pop(id(weight), None)
        return list(weights.values())


def bytes_of(tensors: object) -> int:
    """Of all these tensors, each counted once."""
    assert hasattr(tensors, "__iter__")
    return sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


def _streamed(module: nn.Module) -> list[Tensor]:
    """The weights of a module that come block by block."""
    return [weight for block in module.blocks for weight in weights_of(block)] if isinstance(module, Encoder) else []


def _spared(module: nn.Module) -> int:
    """Bytes that are not on the device at once when a module comes block by block: all blocks but the two largest."""
    if not isinstance(module, Encoder):
        return 0
    blocks = sorted(bytes_of(weights_of(block)) for block in module.blocks)
    return sum(blocks[:-2])


def is_home(part: Part) -> bool:
    """Whether all weights of a part are in the machine's memory."""
    return all(weight.device == torch.device("cpu") for module in part.modules for weight in weights_of(module))
