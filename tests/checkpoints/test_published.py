"""The published checkpoints, full size: names and shapes of both layouts, and what is detected in their files.

The files are sparse: they have a real header and the right size, and take no room.
"""

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests import published
from tests.published import PUBLISHED, Shapes, folder_shapes, ldm_shapes
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.detect import detect_config
from webui.checkpoints.header import Header, TensorInfo
from webui.checkpoints.load import check_checkpoint, read_checkpoint
from webui.checkpoints.names import unet_names, vae_names
from webui.checkpoints.source import open_checkpoint
from webui.nn.config import SD21
from webui.schema.errors import ModelError

MODELS = pytest.mark.parametrize("name", PUBLISHED)
COUNTS = {"sd15": 1145, "sdxl": 2515}
"""Tensors in v1-5-pruned-emaonly.safetensors and in sd_xl_base_1.0.safetensors."""


def sparse_file(path: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Path:
    """A file of fp16 tensors of these shapes whose bytes are a hole."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({**({"__metadata__": metadata} if metadata else {}), **entries}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def sparse_folder(path: Path, name: str) -> Path:
    """A model in diffusers' layout, its configs as published."""
    known = PUBLISHED[name]
    configs = {"unet": known.unet, "vae": known.vae, **known.texts, "depth_estimator": known.depth}
    for part, shapes in folder_shapes(name).items():
        stem = "diffusion_pytorch_model" if part in ("unet", "vae") else "model"
        sparse_file(path / part / f"{stem}.safetensors", shapes, {"format": "pt"})
        (path / part / "config.json").write_text(json.dumps(configs[part]))
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(known.scheduler))
    (path / "model_index.json").write_text(json.dumps({"_class_name": known.pipeline}))
    return path


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_the_lists_have_as_many_tensors_as_the_published_files(name, count):
    assert len(ldm_shapes(name)) == count


def test_our_modules_have_the_tensors_of_the_published_ldm_files():
    for part, shapes in published.our_lists().items():
        assert published.read_list(part, "ldm") == shapes, part


def test_diffusers_and_transformers_have_the_tensors_of_the_published_folders():
    for part, shapes in published.their_lists().items():
        assert published.read_list(part, "diffusers") == shapes, part


def as_tensors(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def as_shapes(tensors: dict[str, torch.Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@MODELS
def test_diffusers_turns_our_names_into_its_own(name):
    tensors, folder, known = as_tensors(ldm_shapes(name)), folder_shapes(name), PUBLISHED[name]
    config = {"class_embed_type": None, **known.unet}
    assert as_shapes(convert_ldm_unet_checkpoint(tensors, config)) == folder["unet"]
    assert as_shapes(convert_ldm_vae_checkpoint(tensors, known.vae)) == folder["vae"]


@pytest.mark.parametrize(("name", "text"), [("sd21", "text_encoder"), ("sdxl", "text_encoder_2")])
def test_diffusers_turns_our_names_of_openclip_into_its_own(name, text):
    known = PUBLISHED[name]
    with torch.device("meta"):
        model = CLIPTextModelWithProjection(CLIPTextConfig(**known.texts[text]))
    found = as_shapes(convert_open_clip_checkpoint(model, as_tensors(ldm_shapes(name)), known.prefixes[-1]))
    expected = folder_shapes(name)[text]
    del expected["text_model.embeddings.position_ids"]
    if name == "sd21":
        assert found.pop("text_projection.weight", None) in (None, (1024, 1024))
    assert found == expected


@MODELS
def test_we_turn_the_names_of_diffusers_into_ldms(name):
    folder, ldm = folder_shapes(name), ldm_shapes(name)
    for part, prefix, renamed in (
        ("unet", "model.diffusion_model.", unet_names(folder["unet"])),
        ("vae", "first_stage_model.", vae_names(folder["vae"])),
    ):
        found = {prefix + ours: folder[part][theirs] for ours, theirs in renamed.items()}
        expected = {key: shape for key, shape in ldm.items() if key.startswith(prefix)}
        assert found.keys() == expected.keys()
        assert all(shape == expected[key][: len(shape)] for key, shape in found.items())  # 1 x 1: matrices there


def test_the_attention_of_older_diffusers_autoencoders_is_known():
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    names = list(folder_shapes("sd15")["vae"])
    renamed = []
    for name in names:
        new = next((new for new in older if f".{new}." in name), "")
        renamed.append(name.replace(f".{new}.", f".{older[new]}.") if new else name)
    assert renamed != names
    assert vae_names(renamed).keys() == vae_names(names).keys()


@MODELS
def test_an_ldm_file_is_known_by_names_and_shapes(name):
    header = Header({key: TensorInfo("F16", shape) for key, shape in ldm_shapes(name).items()})
    assert detect_config(header) == PUBLISHED[name].config


@MODELS
def test_a_folder_is_known_and_promises_a_whole_model(name, tmp_path):
    folder = sparse_folder(tmp_path / name, name)
    checked = read_checkpoint(folder)
    assert checked.config == PUBLISHED[name].folder_config
    assert len(checked.tokenizers) == len(PUBLISHED[name].texts)


def test_a_folder_says_whether_sd2_predicts_noise(tmp_path):
    folder = sparse_folder(tmp_path / "base", "sd21")
    known = PUBLISHED["sd2-inpaint"]
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(known.scheduler))
    (folder / "unet" / "config.json").write_text(json.dumps({**known.unet, "in_channels": 4}))
    config = open_checkpoint(folder).config()
    assert (config.prediction, config.native_size, config.extra) == ("epsilon", 512, "none")


def test_a_folder_says_that_its_schedule_ends_in_noise(tmp_path):
    folder = sparse_folder(tmp_path / "zsnr", "sdxl")
    said = {**PUBLISHED["sdxl"].scheduler, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(said))
    config = open_checkpoint(folder).config()
    assert (config.prediction, config.schedule.zero_terminal_snr) == ("v", True)


@MODELS
def test_every_published_model_can_draw(name, tmp_path):
    assert check_checkpoint(sparse_folder(tmp_path / name, name)).config.extra == PUBLISHED[name].config.extra


@pytest.mark.parametrize("name", ["sd15", "x4"])
def test_a_unet_of_channels_that_no_pass_fills_is_refused(name, tmp_path):
    shapes = ldm_shapes(name)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    with pytest.raises(ModelError, match="takes 6 channels"):
        check_checkpoint(sparse_file(tmp_path / "m.safetensors", {**shapes, first: (shapes[first][0], 6, 3, 3)}))


def test_the_catalogue_lists_a_folder_once_with_its_kind(tmp_path):
    sparse_folder(tmp_path / "Stable-diffusion" / "xl" / "sdxl-v1.0", "sdxl")
    sparse_folder(tmp_path / "Stable-diffusion" / "paint", "sd2-inpaint")
    paint, xl = Catalogue(tmp_path).list()
    assert (paint.name, paint.family, paint.extra, paint.native_size) == ("paint", "sd2", "inpaint", 512)
    assert paint.error == ""
    assert (xl.name, xl.family, xl.error) == ("xl/sdxl-v1.0", "sdxl", "")
    assert xl.bytes > 6e9
    assert Catalogue(tmp_path).find("sdxl-v1.0").name == xl.name


def test_the_hash_of_a_folder_is_that_of_its_unet(tmp_path):
    folder = tmp_path / "Stable-diffusion" / "m"
    sparse_folder(folder, "sd15")
    for part in ("a", "b"):
        (folder / "unet" / f"{part}.safetensors").write_bytes(part.encode() * 20)
    index = {"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "a.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    catalogue = Catalogue(tmp_path)
    assert catalogue.sha256("m") == hashlib.sha256(b"a" * 20 + b"b" * 20).hexdigest()


def test_a_changed_config_in_a_folder_is_noticed(tmp_path):
    folder = sparse_folder(tmp_path / "Stable-diffusion" / "m", "sd21")
    catalogue = Catalogue(tmp_path)
    assert catalogue.find("m").prediction == SD21.prediction == "v"
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("v_prediction", "epsilon") + " ")
    assert catalogue.find("m").prediction == "epsilon"


@pytest.mark.parametrize(
    "unet", [{"attention_head_dim": [0] * 4}, {"attention_head_dim": ["x"] * 4}, {"norm_num_groups": "a"}]
)
def test_a_damaged_config_in_a_folder_is_a_model_error(unet, tmp_path):
    folder = sparse_folder(tmp_path / "m", "sd21")
    (folder / "unet" / "config.json").write_text(json.dumps({**PUBLISHED["sd21"].unet, **unet}))
    with pytest.raises(ModelError):
        check_checkpoint(folder)


def test_a_unet_of_diffusers_is_joined_with_parts_of_other_layouts(tmp_path):
    folder = sparse_folder(tmp_path / "folder", "sd15")
    single = {key: shape for key, shape in ldm_shapes("sd15").items() if key.startswith("first_stage_model.")}
    sparse_file(tmp_path / "vae.safetensors", single)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(tmp_path / "u.safetensors")
    parts = {"vae": "vae.safetensors", "texts": "folder/text_encoder/model.safetensors"}
    (tmp_path / "u.json").write_text(json.dumps({"atelier.parts": parts}))
    assert check_checkpoint(tmp_path / "u.safetensors").config == PUBLISHED["sd15"].config


def test_an_lcm_that_is_told_the_guidance_scale_is_refused_by_name(tmp_path):
    shapes = {**ldm_shapes("sd15"), "model.diffusion_model.time_embed.cond_proj.weight": (320, 256)}
    with pytest.raises(ModelError, match="guidance scale"):
        check_checkpoint(sparse_file(tmp_path / "m.safetensors", shapes))


@pytest.mark.parametrize(
    ("mark", "says"),
    [("edm_mean", "EDM"), ("edm_vpred.sigma_max", "EDM"), ("model.diffusion_model.x.absmax", "bitsandbytes")],
)
def test_checkpoints_that_want_what_is_not_there_are_refused_by_name(mark, says, tmp_path):
    with pytest.raises(ModelError, match=says):
        check_checkpoint(sparse_file(tmp_path / "m.safetensors", {**ldm_shapes("sdxl"), mark: (4,)}))


def test_unclip_models_are_refused(tmp_path):
    label = {
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2048),
        "model.diffusion_model.label_emb.0.0.bias": (1280,),
    }
    with pytest.raises(ModelError, match="unCLIP"):
        check_checkpoint(sparse_file(tmp_path / "m.safetensors", {**ldm_shapes("sd21"), **label}))
