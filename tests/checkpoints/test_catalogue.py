"""The list of models, by their headers."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from tests.checkpoints.conftest import shapes_file
from webui.checkpoints.catalogue import Catalogue
from webui.schema.errors import NotFound


@pytest.fixture
def models(tiny_files, tmp_path):
    """models/Stable-diffusion with two checkpoints, one of them in a folder of its own."""
    folder = tmp_path / "models" / "Stable-diffusion"
    (folder / "xl").mkdir(parents=True)
    shutil.copy(tiny_files["sd1"], folder / "Tiny.safetensors")
    shutil.copy(tiny_files["sdxl"], folder / "xl" / "big one.safetensors")
    return tmp_path / "models"


def test_models_are_listed_by_name_with_what_their_header_says(models):
    first, second = Catalogue(models).list()
    assert (first.name, first.file, first.family, first.native_size) == ("Tiny", "Tiny.safetensors", "sd1", 64)
    assert (first.hint, first.examples, first.error) == ("A tiny model of noise.", ("a red ball",), "")
    assert first.settings == {"cfg_scale": 5.5}
    assert first.bytes == (models / "Stable-diffusion" / "Tiny.safetensors").stat().st_size
    assert (second.name, second.file, second.family) == ("xl/big one", "xl/big one.safetensors", "sdxl")


def test_without_the_folder_there_are_no_models(tmp_path):
    assert Catalogue(tmp_path / "nowhere").list() == []


@pytest.mark.parametrize(
    "name",
    ["Tiny", "tiny", "Tiny.safetensors", "TINY.safetensors", "Tiny [6ce0161689]", "Tiny.safetensors [6ce0161689]"],
)
def test_a_model_is_found_by_any_of_its_names(models, name):
    assert Catalogue(models).find(name).name == "Tiny"
    assert Catalogue(models).path(name) == models / "Stable-diffusion" / "Tiny.safetensors"


@pytest.mark.parametrize("name", ["xl/big one", "big one", "big one.safetensors", "xl/big one.safetensors"])
def test_a_model_in_a_folder_is_found_with_or_without_it(models, name):
    assert Catalogue(models).find(name).name == "xl/big one"


def test_a_model_directly_in_the_models_folder_is_listed_too(models, tiny_files):
    shutil.copy(tiny_files["sd2"], models / "other.safetensors")
    (models / "VAE").mkdir()
    shutil.copy(tiny_files["sd2"], models / "VAE" / "no checkpoint.safetensors")
    assert [info.name for info in Catalogue(models).list()] == ["other", "Tiny", "xl/big one"]
    assert Catalogue(models).path("other") == models / "other.safetensors"


@pytest.mark.parametrize("name", ["nothing", "../Tiny", "/etc/passwd", "", "\0", "Tin", "xl"])
def test_other_names_are_not_found(models, name):
    with pytest.raises(NotFound) as caught:
        Catalogue(models).find(name)
    assert "Tiny" in caught.value.cure


def test_a_file_that_cannot_be_used_is_listed_with_the_reason(models):
    folder = models / "Stable-diffusion"
    (folder / "empty.safetensors").touch()
    (folder / "cut.safetensors").write_bytes((folder / "Tiny.safetensors").read_bytes()[:500_000])
    (folder / "old.ckpt").write_bytes(b"PK\x03\x04")
    shapes_file(folder / "lora.safetensors", "lora_unet_x.lora_down.weight")
    errors = {info.name: info.error for info in Catalogue(models).list()}
    assert "is empty" in errors["empty"]
    assert "cut off" in errors["cut"]
    assert errors["old"].endswith("models convert models/Stable-diffusion/old.ckpt")
    assert "looks like a LoRA" in errors["lora"]
    assert "models/Lora" in errors["lora"]
    assert errors["Tiny"] == ""


def test_a_converted_pickle_is_listed_no_more(models):
    folder = models / "Stable-diffusion"
    (folder / "Tiny.ckpt").write_bytes(b"PK\x03\x04")
    assert [info.file for info in Catalogue(models).list()] == ["Tiny.safetensors", "xl/big one.safetensors"]


def test_vaes_beside_checkpoints_hidden_and_other_files_are_not_listed(models, tiny_files):
    folder = models / "Stable-diffusion"
    for name in ("Tiny.vae.safetensors", ".hidden.safetensors", "Tiny.json", "Tiny.preview.png", "x.safetensors.part"):
        shutil.copy(tiny_files["sd1"], folder / name)
    assert [info.name for info in Catalogue(models).list()] == ["Tiny", "xl/big one"]


def test_changes_on_the_disk_are_seen(models, tiny_files):
    catalogue, folder = Catalogue(models), models / "Stable-diffusion"
    catalogue.list()
    (folder / "Tiny.safetensors").unlink()
    shutil.copy(tiny_files["sd2"], folder / "new.safetensors")
    assert [info.name for info in catalogue.list()] == ["new", "xl/big one"]
    (folder / "new.safetensors").write_bytes(b"")
    assert "is empty" in catalogue.find("new").error
    shutil.copy(tiny_files["sd1"], folder / "new.safetensors")
    assert catalogue.find("new").family == "sd1"


def test_a_file_beside_the_model_that_comes_later_counts(models):
    catalogue = Catalogue(models)
    assert catalogue.find("Tiny").native_size == 64
    (models / "Stable-diffusion" / "Tiny.json").write_text('{"atelier.config": {"native_size": 256}}')
    assert catalogue.find("Tiny").native_size == 256


def test_headers_are_read_once(models, monkeypatch):
    catalogue = Catalogue(models)
    catalogue.list()
    monkeypatch.setattr("webui.checkpoints.catalogue.open_checkpoint", lambda path: pytest.fail("read again"))
    assert len(catalogue.list()) == 2


def test_the_hash_is_that_of_the_file_and_known_from_then_on(models):
    catalogue = Catalogue(models)
    assert catalogue.find("Tiny").sha256 is None
    expected = hashlib.sha256((models / "Stable-diffusion" / "Tiny.safetensors").read_bytes()).hexdigest()
    assert catalogue.sha256("Tiny") == expected
    assert catalogue.find("Tiny").short_hash == expected[:10]
    assert catalogue.find(expected[:10]).name == "Tiny"
    assert catalogue.find(f"gone [{expected[:10]}]").name == "Tiny"


def test_hashing_can_be_cancelled(models):
    catalogue = Catalogue(models)
    assert catalogue.sha256("Tiny", lambda: True) is None
    assert catalogue.find("Tiny").sha256 is None


def test_a_changed_file_loses_its_hash(models, tiny_files):
    catalogue = Catalogue(models)
    catalogue.sha256("Tiny")
    shutil.copy(tiny_files["sd2"], models / "Stable-diffusion" / "Tiny.safetensors")
    assert catalogue.find("Tiny").sha256 is None


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_linked_folders_are_followed_and_circles_end(models, tmp_path, tiny_files):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tiny_files["sd1"], elsewhere / "linked.safetensors")
    os.symlink(elsewhere, models / "Stable-diffusion" / "more")
    os.symlink(models, elsewhere / "circle")
    os.symlink(elsewhere / "gone.safetensors", elsewhere / "broken.safetensors")
    names = [info.name for info in Catalogue(models).list() if info.name.count("/") < 3]
    assert "more/linked" in names


def test_listing_models_needs_no_torch(models):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = sys.modules['gradio'] = None\n"
        "from webui.checkpoints.catalogue import Catalogue\n"
        f"print(len(Catalogue({str(models)!r}).list()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
