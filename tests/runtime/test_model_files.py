"""What a server does with the preview pictures of its model files."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.modelfiles.files import write_lora
from webui.checkpoints.places import Places
from webui.fetch.web import Web
from webui.networks.library import Library
from webui.runtime.hashing import Hashing
from webui.runtime.model_files import DECODED, ModelFiles


def test_only_a_few_pictures_are_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        write_lora(tmp_path / "models" / "Lora" / f"{number}.safetensors")
    library = Library.of(Places(tmp_path / "models"), tmp_path / "data")
    hashing = Hashing(library.checkpoints)
    files = ModelFiles(library, tmp_path / "data", Web(), hashing)
    lock, now, seen = threading.Lock(), 0, []

    def decode(path: Path) -> bytes:
        nonlocal now
        with lock:
            now += 1
            seen.append(now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return b"webp"

    monkeypatch.setattr("webui.runtime.model_files.thumbnail", decode)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.thumbnail, [item.id for item in library.items()])) == [b"webp"] * 8
    files.close()
    hashing.close()
    assert len(seen) == 8
    assert max(seen) == DECODED
