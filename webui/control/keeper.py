"""Who brings control networks to the device and away again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class Keeper(Protocol):
    """Of the networks of one engine. They are known by their modules, whose home is the machine's memory."""

    def lend(self, modules: Sequence[nn.Module], call: Callable[[], T], after: bool = False) -> T:
        """call(), with the modules on the device. after: they leave it again at once.

        With no modules it is work that finds no memory without their help, such as loading some: where others can make
        room it is done again.
        """

    def rest(self, modules: Sequence[nn.Module]) -> None:
        """The job is over that was lent them: they leave the device."""

    def forget(self, modules: Sequence[nn.Module]) -> None:
        """They are gone."""


class Simple:
    """Moves them whole, and keeps no account."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def lend(self, modules: Sequence[nn.Module], call: Callable[[], T], after: bool = False) -> T:
        for module in modules:
            module.to(self._device)
        try:
            return call()
        finally:
            if after:
                self.rest(modules)

    def rest(self, modules: Sequence[nn.Module]) -> None:
        for module in modules:
            module.to("cpu")

    def forget(self, modules: Sequence[nn.Module]) -> None:
        """Nothing is known of them."""
