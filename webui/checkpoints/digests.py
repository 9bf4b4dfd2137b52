"""The sha256 of model files: of a whole file, and of its weights alone, read together and kept."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

from webui.checkpoints.cache import FileTime, ModelCache
from webui.checkpoints.files import stamp_of
from webui.checkpoints.source import checkpoint_files

Digest = Literal["sha256", "weights"]
WHOLE: Final = "sha256"
"""Of all bytes, by which checkpoints and embeddings are known (A1111; its first ten digits: AutoV2)."""
WEIGHTS: Final = "weights"
"""Of what follows the header, by which kohya and A1111 know a LoRA: it stays when metadata change."""
BLOCK = 8 * 1024 * 1024
Watch = Callable[[int], bool]
"""watch(bytes): told of each block that was read; whether to give up."""


def digest_of(path: Path, what: Digest, cache: ModelCache) -> str:
    """One digest of a file, from the cache where it is known there. Raises OSError."""
    known = cache.digest(str(path), what, time_of(path))
    if known is not None:
        return known
    return read_digests(path, cache, (WHOLE, what))[what]


def read_digests(
    path: Path, cache: ModelCache, wanted: Iterable[Digest] = (WHOLE,), watch: Watch = lambda count: False
) -> dict[Digest, str]:
    """Read a file once, for all the digests that are wanted, and keep them; empty where `watch` gave up. Of a folder in
    diffusers' layout the files of its U-Net are read one after the other.

    Raises:
        OSError: it cannot be read. ModelError: it is a folder without weights.
    """
    before, hashes = time_of(path), {what: hashlib.sha256() for what in dict.fromkeys(wanted)}
    for part in checkpoint_files(path):
        with part.open("rb") as file:
            header = _header_size(file.read(8))
            file.seek(0)
            at = 0
            while block := file.read(BLOCK):
                if watch(len(block)):
                    return {}
                for what, digest in hashes.items():
                    digest.update(block if what == WHOLE else memoryview(block)[max(0, min(header - at, len(block))) :])
                at += len(block)
    found: dict[Digest, str] = {what: digest.hexdigest() for what, digest in hashes.items()}
    if time_of(path) == before:
        for what, text in found.items():
            cache.keep_digest(str(path), what, before, text)
    return found


def time_of(path: Path) -> FileTime:
    """What changes when the digests of a file or folder may. Raises OSError."""
    time, size, *_beside = stamp_of(path)
    return time, size


def _header_size(start: bytes) -> int:
    """Bytes before the weights of a safetensors file."""
    return 8 + struct.unpack("<Q", start)[0] if len(start) == 8 else 0
