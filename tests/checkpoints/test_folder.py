"""diffusers folders: which files are read, and what is said of those that cannot be."""

import json

import pytest

from tests.checkpoints.conftest import shapes_file
from webui.checkpoints.folder import folder_facts, folder_tokenizer, weight_files
from webui.schema.errors import ModelError


def part_with(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shapes_file(folder / name, "x")
    return folder


def index(folder, name, *files):
    (folder / name).write_text(json.dumps({"weight_map": dict(enumerate(files))}))


@pytest.mark.parametrize(
    ("present", "read"),
    [
        (["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"], ""),
        (["diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.fp16.safetensors"], ".fp16"),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bf16.safetensors"], ".fp16"),
        (["diffusion_pytorch_model.non_ema.safetensors"], ".non_ema"),
    ],
)
def test_the_plain_weights_go_before_variants_of_lower_precision(tmp_path, present, read):
    part = part_with(tmp_path / "unet", *present)
    assert weight_files(part) == (part / f"diffusion_pytorch_model{read}.safetensors",)


@pytest.mark.parametrize(
    "name", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json", "model.safetensors.index.json"]
)
def test_shards_are_found_by_their_index(tmp_path, name):
    shards = ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"]
    part = part_with(tmp_path / "text_encoder", *shards)
    index(part, name, *shards[::-1], shards[0])
    assert weight_files(part) == tuple(part / shard for shard in shards)


def test_a_missing_shard_is_named(tmp_path):
    part = part_with(tmp_path / "unet")
    index(part, "diffusion_pytorch_model.safetensors.index.json", "a.safetensors")
    with pytest.raises(ModelError, match=r"unet/a\.safetensors is missing"):
        weight_files(part)


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "b/a.safetensors"])
def test_an_index_names_no_file_outside_its_folder(tmp_path, name):
    part = part_with(tmp_path / "unet")
    index(part, "diffusion_pytorch_model.safetensors.index.json", name)
    with pytest.raises(ModelError, match="outside its folder"):
        weight_files(part)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": []}', '{"weight_map": {}}', "{}"])
def test_a_damaged_index_is_a_model_error(tmp_path, text):
    part = part_with(tmp_path / "unet")
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match="names no files"):
        weight_files(part)


def test_pickles_in_a_folder_are_named_with_the_command_that_converts_them(tmp_path):
    part = part_with(tmp_path / "Stable-diffusion" / "old" / "unet")
    (part / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ModelError) as caught:
        weight_files(part)
    assert "pickles" in caught.value.message
    assert "models/Stable-diffusion/old/unet/diffusion_pytorch_model.bin" in caught.value.cure


def test_a_part_without_weights_is_a_model_error_and_one_that_is_not_there_is_empty(tmp_path):
    with pytest.raises(ModelError, match="no weights"):
        weight_files(part_with(tmp_path / "vae"))
    assert weight_files(tmp_path / "text_encoder") == ()


@pytest.mark.parametrize(
    ("unet", "heads"),
    [
        ({"attention_head_dim": 8}, (8, None)),
        ({"attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280]}, (None, 64)),
        ({"attention_head_dim": [8, 8], "block_out_channels": [320, 640]}, (8, None)),
        ({"attention_head_dim": 5, "num_attention_heads": 4}, (4, None)),
    ],
)
def test_heads_are_read_as_diffusers_means_them(tmp_path, unet, heads):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps(unet))
    assert folder_facts(tmp_path)["unet"] == {"num_heads": heads[0], "head_dim": heads[1]}


def test_a_folder_without_configs_says_nothing(tmp_path):
    assert folder_facts(tmp_path) == {"unet": {}, "vae": {}, "texts": [], "schedule": {}}


def test_latents_that_are_scaled_channel_by_channel_are_refused(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"latents_mean": [1, 2, 3, 4]}')
    with pytest.raises(ModelError, match="Playground"):
        folder_facts(tmp_path)


def test_the_tokenizer_of_a_folder_has_its_merges_without_the_comment(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "tokenizer" / "merges.txt").write_text("#version: 0.2\na b\n\n# #\n")
    assert folder_tokenizer(tmp_path) == {"vocab": {"a": 0}, "merges": ["a b", "# #"]}
    assert folder_tokenizer(tmp_path / "none") is None
