"""Messages between the web process and its engine: a JSON object and byte frames. Nothing is pickled.

On the pipe: 4 bytes with the length of the JSON text (big endian), the JSON text, then the frames one after another,
whose lengths stand in the JSON object as `frames`.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

MAX_HEADER = 64 << 20
MAX_FRAME = 1 << 30


@dataclass(frozen=True)
class Message:
    """body: a JSON object, frames: bytes that travel beside it."""

    body: dict[str, Any]
    frames: tuple[bytes, ...] = ()


class BrokenWire(Exception):
    """What came over the pipe is no message: the other side wrote something else to it."""


class Wire:
    """Sends and receives messages over two binary files; sending is safe from several threads."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()

    def send(self, body: dict[str, Any], frames: Sequence[bytes] = ()) -> None:
        """Write one message. Raises OSError when the other side is gone."""
        text = json.dumps({**body, "frames": [len(frame) for frame in frames]}).encode()
        with self._lock:
            for part in (struct.pack(">I", len(text)), text, *frames):
                self._writer.write(part)
            self._writer.flush()

    def receive(self) -> Message | None:
        """The next message, or None when the other side is gone.

        Raises:
            BrokenWire: when the bytes are no message.
        """
        head = self._read(4)
        if head is None:
            return None
        text = self._read(_limited(struct.unpack(">I", head)[0], MAX_HEADER))
        if text is None:
            return None
        try:
            body = json.loads(text)
            lengths = [_limited(int(n), MAX_FRAME) for n in body.pop("frames")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenWire(f"no message: {error}") from None
        frames = [self._read(length) for length in lengths]
        return None if None in frames else Message(body, tuple(frame for frame in frames if frame is not None))

    def _read(self, count: int) -> bytes | None:
        """Exactly `count` bytes; None when the pipe ends before."""
        data = bytearray()
        while len(data) < count:
            part = self._reader.read(count - len(data))
            if not part:
                return None
            data += part
        return bytes(data)


def _limited(length: int, limit: int) -> int:
    if not 0 <= length <= limit:
        raise BrokenWire(f"a part of {length} bytes is announced, the limit is {limit}")
    return length
