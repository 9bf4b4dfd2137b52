"""The networks in the models folder, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks.files import header_only, kohya
from webui.checkpoints.cache import ModelCache
from webui.checkpoints.digests import WEIGHTS, digest_of
from webui.networks.catalogue import NetworkCatalogue
from webui.schema.errors import ModelError, NotFound

LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shapes = kohya([LAYER], 8, 768)
    header_only(tmp_path / "Lora" / "knight.safetensors", shapes, {"ss_output_name": "Knight_of_v2"})
    header_only(tmp_path / "Lora" / "styles" / "ink.safetensors", shapes)
    header_only(tmp_path / "LyCORIS" / "Old.safetensors", shapes)
    header_only(tmp_path / "Lora" / "sea" / "adapter_model.safetensors", shapes)
    header_only(tmp_path / "Lora" / "whole.safetensors", {"model.diffusion_model.input_blocks.0.0.weight": (1,)})
    (tmp_path / "Lora" / "pickled.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "Lora" / "readme.txt").write_text("no model")
    return tmp_path


def test_all_files_are_listed_by_name(models: Path) -> None:
    listed = NetworkCatalogue(models).list()
    assert [file.name for file in listed] == ["knight", "Old", "pickled", "sea", "styles/ink", "whole"]
    assert {file.name for file in listed if file.error} == {"pickled", "whole"}
    assert {file.info.family for file in listed if file.info} == {"sd1"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("knight", "knight"),
        ("KNIGHT", "knight"),
        ("knight.safetensors", "knight"),
        ("Knight_of_v2", "knight"),
        ("ink", "styles/ink"),
        ("styles/ink", "styles/ink"),
        ("old", "Old"),
        ("sea", "sea"),
    ],
)
def test_a_network_is_found_by_path_file_and_alias(models: Path, name: str, found: str) -> None:
    assert NetworkCatalogue(models).find(name).name == found


def test_a_files_name_goes_before_another_files_alias(models: Path) -> None:
    header_only(models / "Lora" / "other.safetensors", kohya([LAYER], 8, 768), {"ss_output_name": "ink"})
    assert NetworkCatalogue(models).find("ink").name == "styles/ink"


def test_what_is_not_there_is_named_with_what_is_near(models: Path) -> None:
    with pytest.raises(NotFound) as raised:
        NetworkCatalogue(models).find("knigt")
    assert raised.value.message == 'There is no network "knigt".'
    assert "use one of: knight" in raised.value.cure


def test_a_pickle_says_how_it_is_converted(models: Path) -> None:
    with pytest.raises(ModelError, match="models convert"):
        NetworkCatalogue(models).find("pickled")


def test_a_file_is_looked_at_again_when_it_changes(models: Path) -> None:
    catalogue = NetworkCatalogue(models)
    assert catalogue.find("knight").info == catalogue.find("knight").info
    header_only(models / "Lora" / "knight.safetensors", kohya([LAYER, f"{LAYER}x"], 8, 2048))
    info = catalogue.find("knight").info
    assert info is not None
    assert (info.family, info.keys) == ("sdxl", 6)
    (models / "Lora" / "knight.safetensors").unlink()
    with pytest.raises(NotFound):
        catalogue.find("knight")


def test_an_absent_folder_is_empty(tmp_path: Path) -> None:
    assert NetworkCatalogue(tmp_path).list() == []


def test_the_hash_does_not_change_with_the_metadata(tmp_path: Path) -> None:
    one = header_only(tmp_path / "one.safetensors", kohya([LAYER], 8, 768))
    two = header_only(tmp_path / "two.safetensors", kohya([LAYER], 8, 768), {"ss_output_name": "two"})
    three = header_only(tmp_path / "three.safetensors", kohya([LAYER], 8, 1024))
    first, second, third = (digest_of(path, WEIGHTS, ModelCache()) for path in (one, two, three))
    assert first == second != third


def test_the_catalogue_needs_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import webui.networks.catalogue"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
