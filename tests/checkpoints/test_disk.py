"""Folders are read when they change, and files that are named are looked at as they are now."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from tests.support import write_tiny_checkpoint
from webui.checkpoints import disk as module
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.disk import ANY_AGE, NOW, Disk
from webui.checkpoints.places import Extra, Places
from webui.networks.catalogue import NetworkCatalogue
from webui.schema.errors import NotFound

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
LONG_AGO = time.time() - 1000


def lora(path: Path, width: int = 768) -> Path:
    return header_only(path, kohya([LAYER], 320, width))


def settle(root: Path) -> None:
    """As if nothing had changed for long."""
    for folder, _folders, files in os.walk(root):
        for name in [*files, ""]:
            os.utime(Path(folder, name), (LONG_AGO, LONG_AGO))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read, in their order."""
    seen: list[str] = []
    real = module._read
    monkeypatch.setattr(module, "_read", lambda path, id: (seen.append(Path(path).name), real(path, id))[1])
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lora(tmp_path / "Lora" / "ink.safetensors")
    lora(tmp_path / "Lora" / "deep" / "sea.safetensors")
    settle(tmp_path)
    return tmp_path


def test_a_folder_is_read_again_only_when_it_has_changed(folder: Path, reads: list[str]) -> None:
    networks = NetworkCatalogue(folder)
    for _ in range(3):
        assert len(networks.list()) == 2
        assert networks.find("sea").name == "deep/sea"
    assert reads == ["Lora", "deep"]
    lora(folder / "Lora" / "deep" / "new.safetensors")
    assert [file.name for file in networks.list()] == ["deep/new", "deep/sea", "ink"]
    assert set(reads[2:]) == {"deep"}


def test_a_file_that_comes_or_goes_is_seen_at_once(folder: Path) -> None:
    networks = NetworkCatalogue(folder)
    with pytest.raises(NotFound):
        networks.find("new")
    new = lora(folder / "LyCORIS" / "folder" / "new.safetensors")
    assert networks.find("new").path == new
    new.unlink()
    with pytest.raises(NotFound):
        networks.find("new")
    assert [file.name for file in networks.list()] == ["deep/sea", "ink"]


def test_a_file_written_in_its_place_is_seen_when_it_is_named(folder: Path) -> None:
    networks = NetworkCatalogue(folder)
    info = networks.find("ink").info
    assert info is not None
    assert info.family == "sd1"
    data = lora(folder.parent / f"{folder.name}-other.safetensors", 2048).read_bytes()
    (folder / "Lora" / "ink.safetensors").write_bytes(data)
    os.utime(folder / "Lora", (LONG_AGO, LONG_AGO))
    info = networks.find("ink").info
    assert info is not None
    assert info.family == "sdxl"


def test_a_change_in_the_moment_of_the_look_is_not_missed(tmp_path: Path, reads: list[str]) -> None:
    disk = Disk()
    (tmp_path / "a.json").touch()
    first = disk.folder(str(tmp_path), ANY_AGE)
    status = tmp_path.stat()
    (tmp_path / "b.json").touch()
    os.utime(tmp_path, ns=(status.st_atime_ns, status.st_mtime_ns))  # within one tick of a coarse clock
    second = disk.folder(str(tmp_path), ANY_AGE)
    assert first is not None
    assert second is not None
    assert [*first.files] == ["a.json"]
    assert [*second.files] == ["a.json", "b.json"]


def test_an_unchanged_folder_is_the_same_object_also_when_it_is_read_anew(folder: Path) -> None:
    disk = Disk()
    first = disk.folder(str(folder / "Lora"))
    assert disk.folder(str(folder / "Lora"), NOW) is first


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "Lora" / "deep" / "again").symlink_to(folder / "Lora")
    (folder / "Lora" / "nowhere.safetensors").symlink_to(folder / "nothing")
    assert [file.name for file in NetworkCatalogue(folder).list()] == ["deep/sea", "ink"]


def test_a_folder_that_cannot_be_read_is_told_once_and_spoils_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    networks = NetworkCatalogue(folder)
    assert len(networks.list()) == 2
    shutil.rmtree(folder / "Lora" / "deep")
    for _ in range(3):
        assert [file.name for file in networks.list()] == ["ink"]
    shutil.rmtree(folder / "Lora")
    for _ in range(3):
        assert networks.list() == []
    assert [record.message.split()[0] for record in caplog.records] == [str(folder / "Lora")]


def test_a_model_whose_missing_part_comes_can_be_used_at_once(tmp_path: Path) -> None:
    place = tmp_path / "Stable-diffusion"
    write_tiny_checkpoint(place / "whole.safetensors")
    (place / "whole.json").write_text('{"atelier.parts": {"vae": "../VAE/late.safetensors"}}')
    settle(tmp_path)
    catalogue = Catalogue(tmp_path)
    assert "late.safetensors" in catalogue.find("whole").error
    (tmp_path / "VAE").mkdir()
    shutil.copy(place / "whole.safetensors", tmp_path / "VAE" / "late.safetensors")
    assert "is not there" not in catalogue.find("whole").error


def test_of_two_checkpoints_of_one_name_the_hash_tells_which(tmp_path: Path) -> None:
    own, theirs = tmp_path / "models", tmp_path / "forge"
    write_tiny_checkpoint(own / "Stable-diffusion" / "tiny.safetensors")
    write_tiny_checkpoint(theirs / "models" / "Stable-diffusion" / "tiny.safetensors", seed=5)
    catalogue = Catalogue(Places(own, Extra.of(trees=[theirs])))
    first, second = (catalogue.sha256(name) for name in ("tiny", "forge/tiny"))
    assert first
    assert second
    assert first != second
    assert catalogue.find(f"tiny [{second[:10]}]").name == "forge/tiny"
    assert catalogue.find(f"tiny [{first[:10]}]").name == "tiny"
    assert catalogue.find("tiny [0123456789]").name == "tiny"
    assert catalogue.find(f"renamed [{second[:10]}]").name == "forge/tiny"
