"""Checkpoints whose parts lie in several files, and what is said of strange tensors."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support import write_tiny_checkpoint
from webui.checkpoints.load import check_checkpoint, load_checkpoint
from webui.checkpoints.source import checkpoint_files, open_checkpoint
from webui.schema.errors import ModelError

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."


@pytest.fixture
def split(tmp_path):
    """A tiny model as U-Net, VAE and text encoder of their own, its config and tokenizer at the U-Net."""
    write_tiny_checkpoint(tmp_path / "whole.safetensors")
    with safe_open(tmp_path / "whole.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "whole.safetensors")
    for name, prefix in (("unet", UNET), ("vae", VAE), ("text", TEXT)):
        part = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        save_file(part, tmp_path / f"{name}.safetensors", metadata if name == "unet" else None)
    return tmp_path


def join(folder, **parts):
    (folder / "unet.json").write_text(json.dumps({"atelier.parts": parts}))
    return folder / "unet.safetensors"


def test_parts_that_a_json_file_joins_load_as_one_model(split):
    whole = load_checkpoint(split / "whole.safetensors")
    joined = load_checkpoint(join(split, vae="vae.safetensors", texts=["text.safetensors"]))
    assert joined.config == whole.config
    for ours, theirs in ((joined.unet, whole.unet), (joined.vae, whole.vae), (joined.texts[0], whole.texts[0])):
        expected = theirs.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


def test_a_checkpoint_may_take_its_autoencoder_from_another_file(split):
    tensors = load_file(split / "vae.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, split / "other.safetensors")
    (split / "whole.json").write_text('{"atelier.parts": {"vae": "other.safetensors"}}')
    found = load_checkpoint(split / "whole.safetensors").vae.state_dict()
    assert all(torch.equal(found[name], tensor + 1) for name, tensor in tensors.items())


def test_a_unet_alone_says_how_its_parts_are_joined(split, tmp_path):
    save_file(load_file(split / "unet.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(ModelError) as caught:
        check_checkpoint(tmp_path / "bare.safetensors")
    assert "a U-Net without its VAE and its text encoder" in caught.value.message
    assert "atelier.parts" in caught.value.cure


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"vae": "gone.safetensors"}, "gone.safetensors, which atelier.parts"),
        ({"vae": "text.safetensors"}, "no VAE"),
        ({"texts": ["vae.safetensors"]}, "no text encoder"),
        ({"texts": ["text.safetensors"] * 3}, "3 text encoders"),
    ],
)
def test_parts_that_are_none_are_named(split, parts, says):
    with pytest.raises(ModelError, match=says):
        open_checkpoint(join(split, **parts))


def test_a_list_of_parts_that_is_none_is_a_model_error(split):
    (split / "unet.json").write_text('{"atelier.parts": [1]}')
    with pytest.raises(ModelError, match="no JSON object"):
        open_checkpoint(split / "unet.safetensors")


def test_the_hash_of_a_file_is_of_that_file(split):
    assert checkpoint_files(split / "whole.safetensors") == (split / "whole.safetensors",)


def test_tensors_that_nothing_reads_are_told(split):
    tensors = load_file(split / "whole.safetensors")
    more = {f"{UNET}new_block.weight": torch.ones(1), f"{VAE}loss.logvar": torch.ones(1), "model_ema.x": torch.ones(1)}
    more[f"{TEXT}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    with safe_open(split / "whole.safetensors", "pt") as file:
        save_file(tensors | more, split / "more.safetensors", file.metadata())
    assert load_checkpoint(split / "more.safetensors").unknown == (f"{UNET}new_block.weight",)


@pytest.mark.parametrize("scale", [torch.tensor(0.5), torch.rand(16) + 0.5], ids=["one", "per row"])
def test_fp8_weights_with_a_scale_of_their_own_are_scaled(tmp_path, scale):
    config = write_tiny_checkpoint(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "m.safetensors")
    name = f"{UNET}input_blocks.0.0.weight"
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    tensors[f"{UNET}input_blocks.0.0.scale_weight"] = scale
    save_file(tensors, tmp_path / "scaled.safetensors", metadata)
    model = load_checkpoint(tmp_path / "scaled.safetensors")
    expected = tensors[name].float() * scale.reshape(-1, 1, 1, 1)
    assert torch.equal(model.unet.state_dict()["input_blocks.0.0.weight"], expected)
    assert model.config == config
    assert model.unknown == ()
