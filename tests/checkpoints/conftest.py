import json
import struct
from pathlib import Path

import pytest

from tests.support import write_tiny_checkpoint
from webui.checkpoints.header import read_header


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of each family, by family; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    paths = {family: folder / f"{family}.safetensors" for family in ("sd1", "sd2", "sdxl")}
    for family, path in paths.items():
        write_tiny_checkpoint(path, family)
    return paths


def header_file(path: Path, tensors: dict, data: bytes = b"", metadata: dict | None = None) -> Path:
    """A file with this header, sound or not."""
    entries = {**({"__metadata__": metadata} if metadata else {}), **tensors}
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def shapes_file(path: Path, *names: str) -> Path:
    """A sound file whose tensors have these names, one number each."""
    tensors = {name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(names)}
    header_file(path, tensors, bytes(4 * len(names)))
    read_header(path)
    return path
