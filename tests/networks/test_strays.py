"""What lies among models and is not read."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from tests.networks.test_catalogue import LAYER
from webui.checkpoints.places import Extra, Places
from webui.networks.library import Library
from webui.networks.strays import strays


def said_of(models: Path, name: str) -> list[tuple[str, str]]:
    (models / name).parent.mkdir(parents=True, exist_ok=True)
    (models / name).touch()
    return [(stray.path.relative_to(models).as_posix(), stray.said) for stray in strays(Places(models))]


@pytest.mark.parametrize(
    ("name", "stray", "said"),
    [
        ("Lora/ink.safetensors.part", "Lora/ink.safetensors.part", "an unfinished download: let it come to its end"),
        ("VAE/deep/x.crdownload", "VAE/deep/x.crdownload", "an unfinished download"),
        ("Lora/pack.zip", "Lora/pack.zip", "an archive: unpack it"),
        ("ControlNet/net.onnx", "ControlNet/net.onnx", "a model for ONNX, which is not supported"),
        ("Loras/ink.safetensors", "Loras", "1 file, not read: its place is models/Lora"),
        ("loras/ink.safetensors", "loras", "1 file, not read: its place is models/Lora"),
        ("diffusion_models/x.safetensors", "diffusion_models", "1 file, not read: its place"),
        ("Codeformer/x.pth", "Codeformer", "1 file, not read: nothing here knows this folder"),
        ("ESRGAN/4x.pth", "ESRGAN", "1 file, for which there is no use yet"),
        ("text_encoder/t.safetensors", "text_encoder", "1 file, each read where the JSON file of a U-Net names it"),
    ],
)
def test_what_is_not_listed_is_named_with_the_reason(tmp_path: Path, name: str, stray: str, said: str) -> None:
    ((path, reason),) = said_of(tmp_path, name)
    assert path == stray
    assert reason.startswith(said)


@pytest.mark.parametrize("name", ["Lora/ink.safetensors", "Lora/ink.json", "Lora/ink.png", "VAE/x.pt", "x.txt"])
def test_what_is_listed_or_no_model_at_all_is_no_stray(tmp_path: Path, name: str) -> None:
    assert said_of(tmp_path, name) == []


def test_folders_of_other_programs_are_looked_through_too(tmp_path: Path) -> None:
    other = tmp_path / "comfy" / "models" / "loras"
    other.mkdir(parents=True)
    (other / "half.safetensors.part").touch()
    (found,) = strays(Places(tmp_path / "models", Extra.of(trees=[tmp_path / "comfy"])))
    assert found.path == other / "half.safetensors.part"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names of other bytes")
def test_names_that_are_no_text_hide_nothing_but_their_own_files(tmp_path: Path) -> None:
    good = header_only(tmp_path / "Lora" / "ink.safetensors", kohya([LAYER], 8, 768))
    (tmp_path / "Lora" / os.fsdecode(b"caf\xe9")).mkdir()
    for name in (b"caf\xe9.safetensors", b"caf\xe9/ink.safetensors"):
        shutil.copyfile(good, tmp_path / "Lora" / os.fsdecode(name))
    library = Library.of(Places(tmp_path), tmp_path / "data")
    assert [item.name for item in library.items()] == ["ink"]
    assert [stray.said.partition(",")[0] for stray in strays(Places(tmp_path))] == ["a name that is not in UTF-8"] * 2
