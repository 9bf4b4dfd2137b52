"""Blocks that come to a device one after another. What CUDA would do is written down by stand-ins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from webui.nn.streaming import CudaMover, Streamed


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a GPU is asked for, in its order."""
    order: list[str] = []

    class Stream:
        def __init__(self, device: torch.device | None = None) -> None:
            self.device = device

        def wait_stream(self, other: Stream) -> None:
            order.append("wait for copies")

    class Event:
        def record(self, stream: Stream) -> None:
            order.append("mark")

        def synchronize(self) -> None:
            order.append("until the mark")

    @contextlib.contextmanager
    def stream(_: Stream) -> Iterator[None]:
        yield

    def copied(_: CudaMover, tensor: Tensor) -> Tensor:
        order.append(f"copy {int(tensor)}")
        return tensor.clone()

    for name, value in {"Stream": Stream, "Event": Event, "stream": stream}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    monkeypatch.setattr(CudaMover, "_from_pinned", copied)
    return order


def numbered(count: int) -> list[nn.Module]:
    blocks = [nn.Module() for _ in range(count)]
    for number, block in enumerate(blocks):
        block.register_buffer("number", torch.tensor(number))
    return blocks


def test_the_next_block_is_sent_when_one_works_and_the_one_before_it_is_done(told: list[str]) -> None:
    for number, _ in enumerate(Streamed(CudaMover(torch.device("cuda"))).each(numbered(3))):
        told.append(f"call {number}")
    assert told == [
        "until the mark", "copy 0", "wait for copies", "mark", "call 0",
        "until the mark", "copy 1", "wait for copies", "mark", "call 1",
        "until the mark", "copy 2", "wait for copies", "mark", "call 2",
    ]  # fmt: skip


def test_a_block_is_itself_again_as_soon_as_the_next_one_is_asked_for(told: list[str]) -> None:
    blocks = numbered(3)
    homes = [block.number.data_ptr() for block in blocks]
    lent = Streamed(CudaMover(torch.device("cuda"))).each(blocks)
    for current in range(3):
        next(lent)
        there = [block.number.data_ptr() != home for block, home in zip(blocks, homes, strict=True)]
        assert there == [number == current for number in range(3)]
    assert next(lent, None) is None
    assert [block.number.data_ptr() for block in blocks] == homes
