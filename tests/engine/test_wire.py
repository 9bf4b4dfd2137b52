from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.engine.wire import BrokenWire, Message, Wire

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=8)


def there_and_back(body: dict[str, object], frames: list[bytes]) -> Message | None:
    pipe = io.BytesIO()
    Wire(io.BytesIO(), pipe).send(body, frames)
    return Wire(io.BytesIO(pipe.getvalue()), io.BytesIO()).receive()


@given(
    st.dictionaries(st.text().filter(lambda key: key != "frames"), JSON), st.lists(st.binary(max_size=64), max_size=3)
)
def test_a_message_arrives_as_it_was_sent(body: dict[str, object], frames: list[bytes]) -> None:
    assert there_and_back(body, frames) == Message(body, tuple(frames))


def test_a_pipe_that_ends_in_the_middle_of_a_message_has_no_message() -> None:
    pipe = io.BytesIO()
    Wire(io.BytesIO(), pipe).send({"type": "x"}, [b"frame"])
    for end in range(len(pipe.getvalue())):
        assert Wire(io.BytesIO(pipe.getvalue()[:end]), io.BytesIO()).receive() is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 2**31) + b"x",
        struct.pack(">I", 4) + b"oops",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 2) + b"{}",
        struct.pack(">I", 15) + b'{"frames":[-1]}',
    ],
)
def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BrokenWire):
        Wire(io.BytesIO(data), io.BytesIO()).receive()
