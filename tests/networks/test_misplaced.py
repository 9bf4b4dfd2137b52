"""Every kind of file in the folder of every other kind: each says what it is and where it goes, none where it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.networks.files import header_only
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.networks.catalogue import NetworkCatalogue
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.hypernetworks import HypernetworkCatalogue
from webui.networks.library import Library
from webui.schema.errors import AtelierError

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
TENSORS: Mapping[str, tuple[dict[str, tuple[int, ...]], str]] = {
    # its tensors, and the folder that it belongs into
    "a LoRA": ({"lora_unet_mid.lora_up.weight": (8, 2), "lora_unet_mid.lora_down.weight": (2, 8)}, "Lora"),
    "a LyCORIS network": ({"lora_unet_mid.lokr_w1": (2, 2), "lora_unet_mid.lokr_w2": (4, 4)}, "Lora"),
    "a textual inversion embedding": ({"emb_params": (2, 768)}, "embeddings"),
    "a hypernetwork": ({"768.k.linear.0.weight": (768, 768), "768.v.linear.0.weight": (768, 768)}, "hypernetworks"),
    "a VAE alone": ({"decoder.mid.block_1.norm1.weight": (4,), "decoder.conv_in.weight": (8, 4, 3, 3)}, "VAE"),
    "a tiny autoencoder": ({"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)}, "VAE-approx"),
    "an IP-Adapter": ({"ip_adapter.1.to_k_ip.weight": (320, 768), "image_proj.x": (1,)}, "ControlNet"),
    "a text encoder alone (CLIP-L)": (
        {"text_model.embeddings.token_embedding.weight": (8, 768), "text_model.final_layer_norm.bias": (768,)},
        "text_encoder",
    ),
    "an upscaler": ({"conv_first.weight": (4, 3, 3, 3), "body.0.rdb1.conv1.weight": (4, 4, 3, 3)}, "ESRGAN"),
    "a model of Flux": ({"double_blocks.0.img_attn.qkv.weight": (4, 4), "img_in.weight": (4, 4)}, ""),
}  # fmt: skip
FILES: Mapping[str, tuple[bytes, str]] = {
    "is empty": (b"", "Download it again"),
    "is cut off": (b"\xff\x0f\0\0\0\0\0\0{" + bytes(9), "Download it again"),
    "is a web page": (b"<!DOCTYPE html><html>", "login"),
    "is a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "is a GGUF file": (b"GGUF\x03\0\0\0\0\0\0\0", "safetensors"),
    "is a text": (b"Invalid username or password.", "login"),
    "is a pickle": (b"PK\x03\x04" + bytes(60), "models convert"),
}
FOLDERS = ("Stable-diffusion", "VAE", "Lora", "embeddings", "hypernetworks", "ControlNet")
Find = Callable[[Path, str], object]
FINDERS: tuple[Find, ...] = (
    lambda models, name: Catalogue(models).find(name),
    lambda models, name: Catalogue(models).vaes.find(name),
    lambda models, name: NetworkCatalogue(models).find(name),
    lambda models, name: EmbeddingCatalogue(models).find(name),
    lambda models, name: HypernetworkCatalogue(models).find(name),
    lambda models, name: ControlCatalogue(models).find(name),
)


def said_of(models: Path) -> str:
    (item,) = Library.of(models).items()
    assert item.name == "odd"
    assert str(models) not in item.said
    return item.said


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("what", TENSORS)
def test_a_file_in_another_folder_says_what_it_is_and_where_it_goes(tmp_path: Path, what: str, folder: str) -> None:
    shapes, home = TENSORS[what]
    if home == folder:
        return
    header_only(tmp_path / folder / "odd.safetensors", shapes)
    said = said_of(tmp_path)
    assert f"it looks like {what}" in said
    assert (f"Put it into models/{home}." if home else "which is not supported") in said


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in ("Stable-diffusion", "VAE")])
def test_a_checkpoint_in_another_folder_says_so(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    write_tiny_checkpoint(tmp_path / folder / "odd.safetensors")
    said = said_of(tmp_path)
    assert "it looks like a whole checkpoint" in said
    assert "Put it into models/Stable-diffusion." in said


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("wrong", FILES)
def test_a_broken_file_says_in_every_folder_what_is_wrong_with_it(tmp_path: Path, wrong: str, folder: str) -> None:
    data, cure = FILES[wrong]
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "odd.safetensors").write_bytes(data)
    said = said_of(tmp_path)
    assert f"odd.safetensors {wrong}" in said
    assert cure in said


@pytest.mark.parametrize("number", range(len(FINDERS)))
def test_what_is_not_there_is_missed_without_telling_where_the_folders_are(tmp_path: Path, number: int) -> None:
    with pytest.raises(AtelierError) as caught:
        FINDERS[number](tmp_path, "gone")
    assert "models/" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
