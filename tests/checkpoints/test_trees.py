"""How files are called where users read of them, and found again by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.checkpoints.places import Extra, Places
from webui.checkpoints.trees import KINDS, shown_home, shown_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/srv/atelier/models/Lora/ink.pt", "models/Lora/ink.pt"),
        ("/srv/atelier/models/Lora/people/ink.pt", "models/Lora/people/ink.pt"),
        ("/mnt/VAE/models/Lora/ink.pt", "models/Lora/ink.pt"),
        ("/mnt/sd/Stable-diffusion/old.ckpt", "models/Stable-diffusion/old.ckpt"),
        ("/mnt/sd/Stable-diffusion/old/unet/model.bin", "models/Stable-diffusion/old/unet/model.bin"),
        ("/comfy/models/checkpoints/old/unet/model.bin", "models/checkpoints/old/unet/model.bin"),
        ("/home/me/Downloads/old.ckpt", "old.ckpt"),
    ],
)
def test_a_file_is_shown_from_the_folder_of_its_kind_on(path: str, shown: str) -> None:
    assert shown_path(Path(path)) == shown


def test_the_folder_of_every_kind_is_shown_below_models() -> None:
    assert {kind: shown_home(kind) for kind in KINDS if kind in ("lora", "vae")} == {
        "lora": "models/Lora",
        "vae": "models/VAE",
    }
    assert all(shown_home(kind).startswith("models/") for kind in KINDS)


@pytest.mark.parametrize("where", ["own/Lora/ink.pt", "own/Stable-diffusion/deep/old.ckpt", "a1111/models/VAE/x.pt"])
def test_what_is_shown_is_found_again_wherever_it_lies(tmp_path: Path, where: str) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.touch()
    places = Places(tmp_path / "own", Extra.of(trees=[tmp_path / "a1111"]))
    assert places.file(Path(shown_path(path))) == path
    assert places.file(path) == path
    assert places.file(Path("models/Lora/gone.pt")) == Path("models/Lora/gone.pt")
