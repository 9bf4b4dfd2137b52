"""The header of a safetensors file, read and checked without torch: nothing of the weights is touched.

Layout (https://github.com/huggingface/safetensors): 8 bytes little-endian length N, N bytes of JSON, then the tensors,
without gaps. The checks are our own, so that a message does not hang on the wording of a library's version.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.checkpoints.plain_json import parsed
from webui.checkpoints.trees import shown_path
from webui.schema.errors import ModelError

PICKLES = (".ckpt", ".pt", ".bin", ".pth")
MAX_HEADER = 100_000_000
ITEM_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
"""Bits of one number of each dtype."""

_HALF_LETTERS = re.compile(rb"\\u[dD][89abcdefABCDEF]")
"""Halves of letters in JSON, which are whole only in pairs."""
_DOWNLOAD = "Download it again."
_LOGIN = "Download it again; the site may want a login."
_OTHER_FILES: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"<!doctype", b"<html", b"<?xml"), "a web page, not a model: a download went wrong", _LOGIN),
    ((b"gguf",), "a GGUF file, which is not supported", "Use the same model as .safetensors in fp16, bf16 or fp8."),
    ((b"rar!", b"7z\xbc\xaf"), "an archive", "Unpack it, and put what is in it here."),
    ((b"\x89png", b"\xff\xd8\xff", b"riff"), "a picture, not a model", _DOWNLOAD),
)
"""Beginnings of files, in small letters, what those are, and what to do."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """Names and shapes of a file's tensors, and its metadata (texts by key)."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor; None where there is none of this name."""
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def json(self, key: str) -> Any:
        """A metadata value that is JSON; None where it is absent.

        Raises:
            ModelError: it is no JSON.
        """
        if key not in self.metadata:
            return None
        try:
            return parsed(self.metadata[key])
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{key} in the file's header is no JSON.", "The file was written wrongly.") from error

    def object(self, key: str) -> dict[str, Any]:
        """A JSON object of the metadata; empty where it is absent or something else."""
        try:
            value = self.json(key)
        except ModelError:
            return {}
        return value if isinstance(value, dict) else {}


def read_header(path: Path) -> Header:
    """The header of a file whose structure is sound: every tensor lies in the file, and nothing is missing.

    Raises:
        ModelError: empty, cut off, damaged, a pickle, or another kind of file; with its cure.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(64)
            length = _header_length(path, start, size)
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise ModelError(
            f"{path.name} cannot be read: {error.strerror or error}.", "Check the file's rights."
        ) from error
    return _checked(path, text, size - 8 - length)


def looks_like_pickle(start: bytes) -> bool:
    """Whether a file begins like a pickle, or like the zip archive that torch wraps one in. The length of a header may
    have the bytes that a pickle begins with."""
    if start[4:9] == b"\0\0\0\0{":
        return False
    return start[:4] == b"PK\x03\x04" or start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _header_length(path: Path, start: bytes, size: int) -> int:
    _check_kind(path, start, size)
    (length,) = struct.unpack("<Q", start[:8])
    if length > MAX_HEADER or start[8:9] != b"{":
        raise ModelError(f"{path.name} is damaged or no safetensors file.", _DOWNLOAD)
    if length > size - 8:
        raise ModelError(f"{path.name} is cut off: not even its header is whole.", _DOWNLOAD)
    return int(length)


def _check_kind(path: Path, start: bytes, size: int) -> None:
    if not size:
        raise ModelError(f"{path.name} is empty.", _DOWNLOAD)
    if looks_like_pickle(start):
        named = path if path.suffix.lower() in PICKLES else path.with_suffix(".ckpt")
        convert = "Convert it" if named == path else f"Name it {named.name} and convert it"
        raise ModelError(
            f"{path.name} is a pickle, which could run foreign code; it was not opened.",
            f"{convert}: python3 launch.py models convert {shlex.quote(shown_path(named))}",
        )
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path.name} is a Git LFS pointer, not the model.", "Fetch the file itself: git lfs pull.")
    for beginnings, what, cure in _OTHER_FILES:
        if start.lstrip().lower().startswith(beginnings):
            raise ModelError(f"{path.name} is {what}.", cure)
    if start.isascii() and start.decode().isprintable():
        raise ModelError(f'{path.name} is a text, not a model: "{start.decode().strip()}".', _LOGIN)
    if size < 10:
        raise ModelError(f"{path.name} is cut off or no safetensors file.", _DOWNLOAD)


def _checked(path: Path, text: bytes, data_size: int) -> Header:
    try:
        entries = json.loads(text)
        if _HALF_LETTERS.search(text):
            json.dumps(entries, ensure_ascii=False).encode()  # what cannot be written cannot be told of either
        metadata = entries.pop("__metadata__", None) or {}
        spans = sorted((*entry["data_offsets"], name) for name, entry in entries.items())
        tensors = {name: _tensor(entry) for name, entry in entries.items()}
        header = Header(tensors, {str(key): str(value) for key, value in metadata.items()})
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"The header of {path.name} is damaged.", _DOWNLOAD) from error
    end = 0
    for start, stop, name in spans:
        if start != end or stop - start != _bytes(tensors[name]):
            raise ModelError(f"{path.name} is damaged: tensor {name!r} is not where it should be.", _DOWNLOAD)
        end = stop
    _check_size(path, end, data_size)
    return header


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    shape = tuple(int(side) for side in entry["shape"])
    if entry["dtype"] not in ITEM_BITS or any(side < 0 for side in shape):
        raise ValueError(f"no such tensor: {entry}")
    return TensorInfo(entry["dtype"], shape)


def _bytes(tensor: TensorInfo) -> int:
    return -(-math.prod(tensor.shape) * ITEM_BITS[tensor.dtype] // 8)


def _check_size(path: Path, described: int, present: int) -> None:
    if present < described:
        raise ModelError(
            f"{path.name} is cut off: it has {_megabytes(present)} of {_megabytes(described)}.",
            "The download is incomplete: continue it or download again.",
        )
    if present > described:
        raise ModelError(f"{path.name} is damaged: it has more bytes than its header describes.", _DOWNLOAD)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
