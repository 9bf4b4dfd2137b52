"""VAE files: what is listed, which one is meant, and what becomes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from tests.support import tiny_config, write_tiny_checkpoint
from webui.checkpoints.vae_load import load_vae
from webui.checkpoints.vaes import VAECatalogue
from webui.nn.vae import VAE
from webui.schema.errors import ModelError, NotFound

CONFIG = tiny_config().vae


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint, its VAE in the three forms that files have, and two files that are none."""
    checkpoint = tmp_path / "Stable-diffusion" / "model.safetensors"
    write_tiny_checkpoint(checkpoint)
    prefix = "first_stage_model."
    vae = {name: tensor for name, tensor in load_file(checkpoint).items() if name.startswith(prefix)}
    (tmp_path / "VAE" / "sub").mkdir(parents=True)
    save_file(vae, tmp_path / "VAE" / "whole.safetensors")
    bare = {name.removeprefix(prefix): tensor for name, tensor in vae.items()}
    save_file(bare, tmp_path / "VAE" / "sub" / "bare.safetensors")
    save_file({"lora_up.weight": torch.ones(2)}, tmp_path / "VAE" / "lora.safetensors")
    (tmp_path / "VAE" / "old.vae.pt").write_bytes(b"pickle")
    return tmp_path


def test_files_are_listed_with_what_is_wrong_with_them(folder: Path) -> None:
    files = {file.name: file.error for file in VAECatalogue(folder).list()}
    assert list(files) == ["lora", "old.vae", "sub/bare", "whole"]
    assert "This is no VAE: it looks like a LoRA. Put it into models/Lora." in files["lora"]
    assert "models convert" in files["old.vae"]
    assert files["whole"] == files["sub/bare"] == ""


def test_a_file_is_found_by_any_of_its_names(folder: Path) -> None:
    vaes = VAECatalogue(folder)
    for name in ("sub/bare", "bare", "bare.safetensors", "Bare"):
        assert vaes.find(name).name == "sub/bare"
    with pytest.raises(NotFound, match="whole"):
        vaes.find("wholly")
    with pytest.raises(ModelError, match="no VAE"):
        vaes.find("lora")


def test_automatic_is_the_file_named_as_the_checkpoint_the_one_beside_it_first(folder: Path) -> None:
    checkpoint = folder / "Stable-diffusion" / "model.safetensors"
    vaes = VAECatalogue(folder)
    assert vaes.chosen("Automatic", checkpoint) is None
    named = shutil.copy(folder / "VAE/whole.safetensors", folder / "VAE/model.vae.safetensors")
    assert vaes.chosen("Automatic", checkpoint) == Path(named)
    beside = shutil.copy(folder / "VAE/whole.safetensors", folder / "Stable-diffusion/model.vae.safetensors")
    assert vaes.chosen("Automatic", checkpoint) == Path(beside)
    assert vaes.chosen("Automatic", checkpoint.with_name("model2.safetensors")) is None
    assert vaes.chosen("None", checkpoint) is None
    assert vaes.chosen("whole", checkpoint) == folder / "VAE/whole.safetensors"


@pytest.mark.parametrize("name", ["whole", "sub/bare"])
def test_a_file_becomes_the_module_that_the_checkpoint_has(folder: Path, name: str) -> None:
    own = load_file(folder / "Stable-diffusion" / "model.safetensors")
    for key, tensor in load_vae(folder / "VAE" / f"{name}.safetensors", CONFIG).state_dict().items():
        assert torch.equal(tensor, own[f"first_stage_model.{key}"].reshape(tensor.shape))


def test_a_file_of_diffusers_decodes_as_diffusers_does(tmp_path: Path) -> None:
    theirs = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=CONFIG.widths, layers_per_block=CONFIG.num_res_blocks, latent_channels=CONFIG.z_channels,
        norm_num_groups=CONFIG.norm_groups,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    state = {name: torch.randn(value.shape, generator=generator) / 8 for name, value in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    save_file(state, tmp_path / "vae.safetensors")
    ours: VAE = load_vae(tmp_path / "vae.safetensors", CONFIG)
    z = torch.randn(1, CONFIG.z_channels, 6, 5, generator=generator)
    with torch.no_grad():
        expected = theirs.decode(z).sample
        assert torch.allclose(ours.decode(z), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_vae_of_another_architecture_is_refused(folder: Path) -> None:
    wider = tiny_config().vae.__class__(channels=16, channel_mult=CONFIG.channel_mult, num_res_blocks=1, norm_groups=4)
    with pytest.raises(ModelError, match="does not fit its architecture"):
        load_vae(folder / "VAE" / "whole.safetensors", wider)
