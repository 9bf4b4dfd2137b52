"""What was read of model files, over restarts and in several processes at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from tests.support import write_tiny_checkpoint
from webui.checkpoints import catalogue
from webui.checkpoints.cache import FILE, ModelCache
from webui.networks.library import Library

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
AT = (5, 7)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    header_only(folder / "Lora" / "ink.safetensors", kohya([LAYER], 320, 768), {"ss_output_name": "Ink"})
    header_only(folder / "embeddings" / "ball.safetensors", {"emb_params": (2, 768)})
    header_only(folder / "VAE" / "odd.safetensors", {"a": (1,)})
    return folder


def headers_read(models: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a process that starts now reads, and that it finds the same."""
    read: list[str] = []
    real = catalogue.describe

    def described(path: Path, *rest: object) -> object:
        read.append(path.stem)
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(catalogue, "describe", described)
    for module in ("webui.networks.catalogue.read_header", "webui.networks.embeddings.read_header"):
        original = __import__("webui.checkpoints.header", fromlist=["read_header"]).read_header
        monkeypatch.setattr(module, lambda path, original=original: (read.append(path.stem), original(path))[1])
    library = Library.of(models, data)
    now = library.items()
    library.close()
    monkeypatch.undo()
    assert [(item.name, item.said, item.entry) for item in now] == [
        (item.name, item.said, item.entry) for item in Library.of(models).items()
    ]
    return read


def test_a_second_start_reads_no_header_again_but_of_what_changed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(headers_read(models, tmp_path, monkeypatch)) == ["ball", "ink", "tiny"]
    assert headers_read(models, tmp_path, monkeypatch) == []
    header_only(models / "Lora" / "ink.safetensors", kohya([LAYER], 320, 2048))
    assert headers_read(models, tmp_path, monkeypatch) == ["ink"]
    (models / "Lora" / "ink.json").write_text('{"activation text": "ink"}')
    assert headers_read(models, tmp_path, monkeypatch) == ["ink"]
    (models / "Lora" / "ink.safetensors").rename(models / "Lora" / "sea.safetensors")
    assert headers_read(models, tmp_path, monkeypatch) == ["sea"]


def test_another_version_of_the_program_reads_headers_anew_and_keeps_digests(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers_read(models, tmp_path, monkeypatch)
    cache = ModelCache(tmp_path / FILE)
    cache.keep_digest("a", "sha256", AT, "ab")
    cache.close()
    monkeypatch.setattr("webui.checkpoints.cache_tables._program", lambda: "another")
    cache = ModelCache(tmp_path / FILE)
    assert cache.described("lora") == {}
    assert cache.digest("a", "sha256", AT) == "ab"


def test_a_digest_is_that_of_one_stamp(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / FILE)
    cache.keep_digest("a", "sha256", AT, "ab")
    cache.keep_digest("a", "weights", AT, "cd")
    assert [cache.digest("a", what, AT) for what in ("sha256", "weights")] == ["ab", "cd"]
    assert cache.digest("a", "sha256", (5, 8)) is None
    assert cache.digest("a", "sha256", (6, 7)) is None


def test_without_a_folder_it_is_kept_in_memory_alone() -> None:
    cache = ModelCache()
    cache.keep_digest("a", "sha256", AT, "ab")
    assert cache.digest("a", "sha256", AT) == "ab"
    assert cache.described("lora") == {}


def test_what_another_process_finds_is_known_at_once(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / FILE)
    assert cache.digest("a", "sha256", AT) is None
    before = cache.changes
    code = (
        "import sys; from pathlib import Path; from webui.checkpoints.cache import ModelCache\n"
        "cache = ModelCache(Path(sys.argv[1]))\n"
        "for number in range(200): cache.keep_digest(str(number), 'sha256', (5, 7), 'ab')\n"
        "cache.keep_digest('a', 'sha256', (5, 7), 'ab')"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / FILE)], cwd=Path(__file__).parents[2])
    for number in range(200):
        cache.keep_digest(f"mine {number}", "sha256", AT, "cd")
    assert other.wait(30) == 0
    assert cache.digest("a", "sha256", AT) == "ab"
    assert cache.changes > before
    again = ModelCache(tmp_path / FILE)
    assert [again.digest(f"mine {n}", "sha256", AT) for n in range(200)] == ["cd"] * 200
    assert [again.digest(str(n), "sha256", AT) for n in range(200)] == ["ab"] * 200


@pytest.mark.parametrize("damage", ["text", "middle", "foreign"])
def test_a_file_that_is_damaged_or_foreign_is_set_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    file = tmp_path / FILE
    if damage == "text":
        file.write_text("this is no database, however long one looks at it" * 100)
    elif damage == "foreign":
        with sqlite3.connect(file) as connection:
            connection.execute("CREATE TABLE mine (a)")
    else:
        first = ModelCache(file)
        for number in range(500):
            first.keep_digest(f"{number} {'x' * 200}", "sha256", AT, "ab")
        first.close()
        data = bytearray(file.read_bytes())
        data[100:] = os.urandom(len(data) - 100)
        file.write_bytes(data)
    cache = ModelCache(file)
    cache.keep_digest("a", "sha256", AT, "ab")
    cache.close()
    assert ModelCache(file).digest("a", "sha256", AT) == "ab"
    (kept,) = tmp_path.glob(f"{FILE}.damaged-*")
    assert kept.stat().st_size > 0


def test_a_folder_that_cannot_be_written_to_fails_nobody(tmp_path: Path, models: Path) -> None:
    (tmp_path / "file").write_text("")
    library = Library.of(models, tmp_path / "file" / "below")
    assert len(library.items()) == 4
    library.memory.cache.keep_digest("a", "sha256", AT, "ab")
    assert library.memory.cache.digest("a", "sha256", AT) == "ab"


def test_what_is_gone_for_good_is_forgotten(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / FILE)
    for path in ("here", "gone"):
        cache.keep_digest(path, "sha256", AT, "ab")
        cache.keep_described("lora", [(path, ("name", "stamp", "{}"))])
    cache.forget(lambda path: path == "gone")
    cache.close()
    again = ModelCache(tmp_path / FILE)
    assert list(again.described("lora")) == ["here"]
    assert [again.digest(path, "sha256", AT) for path in ("here", "gone")] == ["ab", None]
