"""What is told of a model file: its header, its training, what lies beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests import published
from tests.modelfiles.files import item_of, picture, write_embedding, write_lora
from tests.networks.files import header_only
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import describe
from webui.checkpoints.names import VAE_MARK
from webui.checkpoints.places import Places
from webui.modelfiles.info import FileInfo, inform
from webui.modelfiles.pictures import thumbnail
from webui.networks.library import Library

TRAINING = {
    "ss_network_dim": "16", "ss_network_alpha": "8", "ss_sd_model_name": "v1-5-pruned.safetensors",
    "ss_num_train_images": "240", "ss_clip_skip": "None",
    "ss_tag_frequency": {"10_a": {"wash": 3, "paper": 9}, "2_b": {"wash": 10}}, "modelspec.author": "Somebody",
}  # fmt: skip


def test_of_a_lora_its_training_is_told(tmp_path: Path):
    told = inform(item_of(write_lora(tmp_path / "style.safetensors", TRAINING), tmp_path))
    assert told.facts == {
        "kind": "LoRA", "family": "SD 1.x", "bytes": (tmp_path / "style.safetensors").stat().st_size, "format": "fp16",
        "tensors": 3, "parameters": 4 * 320 + 4 * 768 + 1, "layers": "LoRA", "names": "kohya",
    }  # fmt: skip
    assert told.training == {
        "base_model": "v1-5-pruned.safetensors", "network_dim": "16", "network_alpha": "8", "training_images": "240",
    }  # fmt: skip
    assert told.tags == (("wash", 13), ("paper", 9))
    assert told.triggers == ("wash", "paper")
    assert told.metadata["modelspec.author"] == "Somebody"
    assert "ss_tag_frequency" not in told.metadata
    assert (told.unread, told.guess, told.beside) == ((), "", ())


def test_the_users_words_go_before_the_tags(tmp_path: Path):
    path = write_lora(tmp_path / "style.safetensors", TRAINING)
    path.with_suffix(".json").write_text(json.dumps({"activation text": "wtrclr style, , soft"}))
    path.with_suffix(".yaml").write_text("a: 1")
    path.with_suffix(".preview.png").write_bytes(picture("red"))
    told = inform(item_of(path, tmp_path))
    assert told.triggers == ("wtrclr style", "soft")
    assert told.beside == ("style.json", "style.yaml", "style.preview.png")


def test_of_an_embedding_its_vectors_are_told(tmp_path: Path):
    told = inform(item_of(write_embedding(tmp_path / "word.safetensors"), tmp_path, "embedding", type="embedding"))
    assert (told.facts["vectors"], told.facts["channels"]) == (8, "768")


def test_of_a_checkpoint_what_it_predicts_is_told(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    write_tiny_checkpoint(path, "sd2")
    path.with_suffix(".json").write_text(
        '{"atelier.config": {"prediction": "v", "schedule": {"zero_terminal_snr": true}}}'
    )
    entry = describe(path, "model", "model.safetensors", path.stat().st_size)
    facts = inform(item_of(path, tmp_path, "checkpoint", type="checkpoint", entry=entry, error="")).facts
    assert (facts["predicts"], facts["zero_terminal_snr"], facts["text_encoders"]) == ("v", True, 1)
    assert facts["native_size"] == entry.native_size


def test_of_a_vae_its_latents_are_told(tmp_path: Path):
    path = tmp_path / "vae.safetensors"
    save_file(
        {
            VAE_MARK: np.zeros((8, 3, 3, 3), np.float16),
            "decoder.conv_in.weight": np.zeros((8, 4, 3, 3), np.float32),
        },
        str(path),
    )
    facts = inform(item_of(path, tmp_path, "vae", entry=None, error="")).facts
    assert facts["latents"] == "4 channels"
    assert facts["format"] == "fp16 (1), fp32 (1)"


def test_of_a_file_in_the_wrong_folder_a_guess_is_told(tmp_path: Path):
    item = item_of(write_embedding(tmp_path / "word.safetensors"), tmp_path)
    assert item.error
    assert inform(item).guess == "It looks like a textual inversion embedding."


def test_a_damaged_file_is_told_of_by_what_lies_around_it(tmp_path: Path):
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"<!doctype html>")
    path.with_suffix(".json").write_text('{"notes": "mine"}')
    told = inform(item_of(path, tmp_path))
    assert (told.facts, told.note.notes, told.beside) == ({"kind": "LoRA", "bytes": 15}, "mine", ("style.json",))


def test_the_picture_in_a_header_is_used_where_no_file_is_beside(tmp_path: Path):
    data = base64.b64encode(picture("blue", form="JPEG")).decode()
    path = write_lora(tmp_path / "style.safetensors", {"modelspec.thumbnail": f"data:image/jpeg;base64,{data}"})
    assert (thumbnail(path) or b"")[8:12] == b"WEBP"
    assert "modelspec.thumbnail" not in inform(item_of(path, tmp_path)).metadata


def test_a_thumbnail_that_is_none_is_none(tmp_path: Path):
    for number, said in enumerate(
        ("", "data:image/png;base64,%%%%", "data:image/png;base64,aGVsbG8=", "file:///etc/passwd")
    ):
        assert thumbnail(write_lora(tmp_path / f"{number}.safetensors", {"modelspec.thumbnail": said or "x"})) is None


def checkpoint_told(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> FileInfo:
    """What is told of a tiny checkpoint after a change of its tensors."""
    write_tiny_checkpoint(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)
    entry = describe(path, "model", path.name, path.stat().st_size)
    return inform(item_of(path, path.parent, "checkpoint", entry=entry, error=entry.error, type="checkpoint"))


def test_of_a_checkpoint_the_tensors_are_told_that_are_missing_or_not_understood(tmp_path: Path):
    whole = checkpoint_told(tmp_path / "whole.safetensors", lambda tensors: None)
    assert (whole.unread, whole.missing) == ((), ())
    norm, strange = "model.diffusion_model.middle_block.1.norm.bias", "model.diffusion_model.strange.weight"
    loose = {f"first_stage_model.x{number:02}": np.zeros(1, np.float32) for number in range(13)}
    told = checkpoint_told(
        tmp_path / "odd.safetensors",
        lambda tensors: (tensors.pop(norm), tensors.update({strange: np.zeros(1, np.float32), **loose})),
    )
    assert told.missing == (norm,)
    assert told.unread == (*sorted(loose)[:12], "and 2 more")


@pytest.mark.parametrize(
    ("metadata", "beside", "said"),
    [
        ({}, {}, "SD 1.x / 2.x or SDXL: the file does not tell"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}, {}, "SDXL"),
        ({"modelspec.architecture": "stable-diffusion-v1/vae"}, {}, "SD 1.x / 2.x"),
        ({}, {"scaling_factor": 0.13025}, "SDXL"),
        ({}, {"scaling_factor": 0.18215}, "SD 1.x / 2.x"),
    ],
)
def test_what_a_vae_is_made_for_is_told_where_something_tells_it(
    tmp_path: Path, metadata: dict[str, str], beside: dict[str, float], said: str
):
    shapes = published.read_list("vae-f8", "ldm")
    path = header_only(tmp_path / "VAE" / "vae.safetensors", shapes, metadata)
    path.with_suffix(".json").write_text(json.dumps(beside))
    (item,) = Library.of(Places(tmp_path)).items(("vae",))
    assert inform(item).facts["made_for"] == said


def test_the_vae_of_the_x4_upscaler_is_known(tmp_path: Path):
    header_only(tmp_path / "VAE" / "f4.safetensors", published.read_list("vae-f4", "diffusers"))
    (item,) = Library.of(Places(tmp_path)).items(("vae",))
    assert inform(item).facts["made_for"] == "the x4 upscaler"
