"""Tiny autoencoders for previews: what is listed, whose latents a file decodes, and what it gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.tiny_files import taesd_tensors, their_tiny, write_taesd
from tests.nn.weights import relative_error
from webui.checkpoints.convert import convert_checkpoint
from webui.checkpoints.tiny import TinyCatalogue
from webui.checkpoints.tiny_load import load_tiny_decoder
from webui.nn.config import SD15, SD21, SDXL, SDXL_REFINER, X4_UPSCALER
from webui.schema.errors import ModelError


def test_a_decoder_of_each_layout_gives_what_diffusers_gives(tmp_path: Path) -> None:
    theirs = their_tiny()
    raw = taesd_tensors(theirs, "decoder")
    save_file(raw, tmp_path / "raw.safetensors")
    save_file({f"taesd_decoder.{name}": one for name, one in raw.items()}, tmp_path / "prefixed.safetensors")
    save_file({f"decoder.{name}": one for name, one in raw.items()}, tmp_path / "whole.safetensors")
    theirs.save_pretrained(tmp_path / "folder")
    latent = 4 * torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    expected = theirs.decode(latent).sample
    files = [*tmp_path.glob("*.safetensors"), tmp_path / "folder" / "diffusion_pytorch_model.safetensors"]
    assert len(files) == 4
    for file in files:
        assert relative_error(load_tiny_decoder(file)(latent) * 2 - 1, expected) < 1e-6, file


def test_files_of_all_programs_folders_are_listed_with_what_they_are(tmp_path: Path) -> None:
    write_taesd(tmp_path / "VAE-approx")
    write_taesd(tmp_path / "VAE-taesd", "taesdxl_decoder")
    their_tiny().save_pretrained(tmp_path / "vae_approx" / "taesdxl")
    save_file(taesd_tensors(their_tiny(), "encoder"), tmp_path / "VAE-approx" / "taesd_encoder.safetensors")
    assert {file.name: file.said for file in TinyCatalogue(tmp_path).list()} == {
        "taesd_decoder": "tiny autoencoder for previews, SD 1.x, SD 2.x",
        "taesd_encoder": "encoder of a tiny autoencoder, SD 1.x, SD 2.x",
        "taesdxl": "tiny autoencoder for previews, SDXL",
        "taesdxl_decoder": "tiny autoencoder for previews, SDXL",
    }


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    folder = tmp_path / "VAE-approx"
    write_taesd(folder, "taef1_decoder", channels=16)
    whole = taesd_tensors(their_tiny(), "decoder")
    save_file({name: one for name, one in whole.items() if name != "19.weight"}, folder / "cut.safetensors")
    save_file({"lora_up.weight": torch.ones(2)}, folder / "lora.safetensors")
    save_file({f"conv{index}.weight": torch.ones(2) for index in range(1, 9)}, folder / "approx.safetensors")
    for name in ("taesd_decoder.pth", "model.pt", "vaeapprox-sdxl.pt"):
        (folder / name).write_bytes(b"pickle")
    files = TinyCatalogue(tmp_path).list()
    assert not any(file.decodes(SD15.vae) for file in files)
    errors = {file.name: file.error for file in files}
    assert "latents of 16 channels" in errors["taef1_decoder"]
    assert "not whole" in errors["cut"]
    assert "no tiny autoencoder" in errors["lora"]
    assert "models convert" in errors["taesd_decoder"]
    for name in ("approx", "model", "vaeapprox-sdxl"):
        assert "A1111's own small network" in errors[name]


def test_a_pickle_that_is_converted_takes_the_place_of_the_pickle(tmp_path: Path) -> None:
    folder = tmp_path / "VAE-approx"
    folder.mkdir()
    torch.save(taesd_tensors(their_tiny(), "decoder"), folder / "taesd_decoder.pth")
    assert TinyCatalogue(tmp_path).decoder(SD15.vae) is None
    written = convert_checkpoint(folder / "taesd_decoder.pth")
    assert TinyCatalogue(tmp_path).decoder(SD15.vae).path == written
    assert len(TinyCatalogue(tmp_path).list()) == 1
    load_tiny_decoder(written)


def test_a_file_decodes_the_latents_of_its_own_families_alone(tmp_path: Path) -> None:
    catalogue = TinyCatalogue(tmp_path)
    write_taesd(tmp_path / "VAE-approx", "taesdxl_decoder")
    assert catalogue.decoder(SD15.vae) is None
    write_taesd(tmp_path / "VAE-approx")
    for config, name in ((SD15, "taesd_decoder"), (SD21, "taesd_decoder"), (SDXL, "taesdxl_decoder")):
        assert catalogue.decoder(config.vae).name == name
    assert catalogue.decoder(SDXL_REFINER.vae).name == "taesdxl_decoder"
    assert catalogue.decoder(X4_UPSCALER.vae) is None
    assert catalogue.decoder(replace(SD15.vae, scale_factor=0.5)) is None


@pytest.mark.parametrize(
    ("name", "value"), [("19.weight", torch.zeros(3, 32, 3, 3)), ("1.bias", torch.full((64,), torch.nan))]
)
def test_a_damaged_decoder_is_refused_when_it_is_read(name: str, value: torch.Tensor, tmp_path: Path) -> None:
    tensors = {**taesd_tensors(their_tiny(), "decoder"), name: value}
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ModelError, match=r"does not fit|NaN"):
        load_tiny_decoder(tmp_path / "bad.safetensors")
