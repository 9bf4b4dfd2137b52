"""Weights come to the device when they are needed: at once, or block by block while a model runs.

A weight changes its place by its `data` alone: parameters stay the objects they are, and what a weight was on the CPU
is what it is afterwards, bit for bit, because it never left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
Arrival = Callable[[], list[Tensor]]
"""Waits for copies that are under way, and gives them in their order."""


class Lender(Protocol):
    """Lends the blocks of a model to its forward pass."""

    def each(self, blocks: Sequence[M]) -> Iterator[M]:
        """One block after another, each ready to be called until the next one is asked for."""


class AtHand:
    """All blocks are on the device already."""

    def each(self, blocks: Sequence[M]) -> Iterator[M]:
        return iter(blocks)


class Streamed:
    """Blocks that wait elsewhere: each is on the mover's device while it is lent. A GPU gets its work and goes on by
    itself, so that the next block is sent while it works."""

    def __init__(self, mover: Mover) -> None:
        self._mover = mover
        self._lent: tuple[list[Tensor], list[Tensor]] = [], []

    def each(self, blocks: Sequence[M]) -> Generator[M, None, None]:
        self.take_back()
        arrival = self._send(blocks[0])
        for block, following in zip(blocks, (*blocks[1:], None), strict=True):
            weights = weights_of(block)
            self._lent = weights, [weight.data for weight in weights]
            put(weights, arrival())
            yield block
            self.take_back()
            if following is not None:
                arrival = self._send(following)

    def take_back(self) -> None:
        """What is lent is again where it was; a pass that failed in its middle returns nothing by itself."""
        put(*self._lent)
        self._lent = [], []

    def _send(self, block: nn.Module) -> Arrival:
        return self._mover.send([weight.data for weight in weights_of(block)])


class Mover:
    """Brings tensors to a device. Those that are there already are given back as they are."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, tensors: Sequence[Tensor]) -> Arrival:
        """The copies are made when they are waited for."""
        return lambda: [self.copy(tensor) for tensor in tensors]

    def copy(self, tensor: Tensor) -> Tensor:
        """One tensor on the device."""
        with torch.inference_mode(tensor.is_inference()):
            return tensor.to(self.device)


class CudaMover(Mover):
    """Copies on a stream of its own, from pinned memory, while the device works on something else.

    The program runs ahead of the device. It waits where copies are sent until those are used up that arrived before the
    last ones, so that copies of two sends are there at once, and no more.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = torch.cuda.Stream(device)
        self._last_arrival = torch.cuda.Event()

    def send(self, tensors: Sequence[Tensor]) -> Arrival:
        self._last_arrival.synchronize()
        with torch.cuda.stream(self._stream):
            copies = [self._from_pinned(tensor) for tensor in tensors]

        def arrived() -> list[Tensor]:
            working = torch.cuda.current_stream(self.device)
            working.wait_stream(self._stream)
            self._last_arrival.record(working)  # behind all work on what arrived earlier
            for copy in copies:
                copy.record_stream(working)  # its memory is given to nobody else before the work is done
            return copies

        return arrived

    def _from_pinned(self, tensor: Tensor) -> Tensor:
        """Pinned memory is kept by torch for the next copy: as much of it as is under way at once."""
        if tensor.device.type != "cpu":
            return self.copy(tensor)
        with torch.inference_mode(tensor.is_inference()):
            return tensor.pin_memory().to(self.device, non_blocking=True)


def mover_to(device: torch.device) -> Mover:
    """The one that suits a device."""
    return CudaMover(device) if device.type == "cuda" else Mover(device)


def weights_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once, in the order of their names."""
    return [*module.parameters(), *module.buffers()]


def put(weights: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Let weights have these tensors as their data."""
    for weight, value in zip(weights, values, strict=True):
        if weight.data_ptr() != value.data_ptr() or weight.device != value.device:
            with torch.inference_mode(weight.is_inference()):
                weight.data = value
