"""The depth estimator of depth models, by MiDaS' names and by transformers'."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import DPTForDepthEstimation

from tests.checkpoints.test_published import sparse_folder
from tests.midas import midas_names
from tests.nn.weights import draw, randomise, relative_error
from tests.published import read_list
from tests.support import tiny_depth, tiny_depth_model, tiny_upscaler, write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.depth import depth_facts, depth_layout, depth_names
from webui.checkpoints.header import Header, TensorInfo
from webui.checkpoints.load import check_checkpoint, load_checkpoint
from webui.nn.config_json import from_json
from webui.nn.depth import DepthEstimator, dpt_config
from webui.nn.depth_config import DepthConfig
from webui.schema.errors import ModelError

FORMS = {"model.": "ldm", "transformer.": "diffusers"}
"""Kind of names -> layout of the published list."""


@pytest.mark.parametrize("kind", FORMS)
def test_the_published_estimator_is_known_by_names_and_shapes(kind: str) -> None:
    shapes = read_list("midas", FORMS[kind])
    renamed = depth_names(shapes)
    assert renamed == {kind + name: name for name in shapes}
    header = Header({f"depth_model.{ours}": TensorInfo("F16", shapes[theirs]) for ours, theirs in renamed.items()})
    assert from_json(DepthConfig, depth_facts(header)) == DepthConfig()


def test_all_of_midas_is_read_but_the_head_of_its_transformer() -> None:
    midas = {f"depth_model.model.{name}": shape for name, shape in read_list("midas", "ldm").items()}
    layout = depth_layout(midas)
    assert layout is not None
    read: dict[str, list[int]] = {}
    for name, shape in read_list("midas", "diffusers").items():
        source = layout(name)
        assert source.shape(midas[source.name]) == shape
        read.setdefault(source.name, []).append(source.third or 0)
    assert {name.removeprefix("depth_model.model.pretrained.model.") for name in midas.keys() - read.keys()} == {
        "head.weight", "head.bias",
    }  # fmt: skip
    assert all(sorted(thirds) == ([0, 1, 2] if ".qkv." in name else [0]) for name, thirds in read.items())


def estimator() -> DPTForDepthEstimation:
    network = DPTForDepthEstimation(dpt_config(tiny_depth()))
    randomise(network, seed=3)
    return network


def assert_same_depth(ours: DepthEstimator | None, theirs: DPTForDepthEstimation) -> None:
    assert ours is not None
    image = draw(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = ours(image), theirs(image).predicted_depth
    assert relative_error(found, expected) < 1e-5
    assert expected.std() > 0.01


def without_estimator(path: Path) -> Path:
    """A depth model that lacks it, as some programs write them."""
    return write_tiny_checkpoint(path, "sd2", config=replace(tiny_depth_model(), depth=None)) and path


@pytest.mark.parametrize("form", ["transformers", "midas", "ldm"])
def test_an_estimator_of_any_layout_is_joined_and_agrees_with_transformers(form: str, tmp_path: Path) -> None:
    theirs = estimator()
    state = theirs.state_dict()
    names = {"transformers": state, "midas": midas_names(state)}
    names["ldm"] = {f"depth_model.model.{name}": one for name, one in names["midas"].items()}
    save_file({name: one.contiguous() for name, one in names[form].items()}, tmp_path / "dpt.safetensors")
    path = without_estimator(tmp_path / "m.safetensors")
    (tmp_path / "m.json").write_text(json.dumps({"atelier.parts": {"depth": "dpt.safetensors"}}))
    check_checkpoint(path)
    loaded = load_checkpoint(path, torch.float16)
    assert loaded.config.depth == tiny_depth()
    assert_same_depth(loaded.depth, theirs)
    assert loaded.unknown == ()


def test_a_depth_model_without_estimator_is_listed_with_the_cure(tmp_path: Path) -> None:
    without_estimator(tmp_path / "Stable-diffusion" / "m.safetensors")
    (model,) = Catalogue(tmp_path).list()
    assert model.extra == "depth"
    assert "without its depth estimator" in model.error
    assert '{"atelier.parts": {"depth":' in model.error


def test_a_folder_without_estimator_is_refused_likewise(tmp_path: Path) -> None:
    folder = sparse_folder(tmp_path / "m", "sd2-depth")
    assert check_checkpoint(folder).config.depth == DepthConfig()
    (folder / "depth_estimator" / "model.safetensors").unlink()
    (folder / "depth_estimator" / "config.json").unlink()
    (folder / "depth_estimator").rmdir()
    with pytest.raises(ModelError, match="without its depth estimator"):
        check_checkpoint(folder)


def test_another_network_in_its_place_is_named(tmp_path: Path) -> None:
    path = without_estimator(tmp_path / "m.safetensors")
    (tmp_path / "m.json").write_text(json.dumps({"atelier.parts": {"depth": "other.safetensors"}}))
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no depth estimator that is known"):
        check_checkpoint(path)
    state = {name: one for name, one in estimator().state_dict().items() if "backbone" not in name}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="not of MiDaS' hybrid kind"):
        check_checkpoint(path)


def test_an_estimator_with_a_tensor_missing_is_not_loaded(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "m.safetensors", "sd2", config=tiny_depth_model())
    tensors = load_file(tmp_path / "m.safetensors")
    gone = "depth_model.model.scratch.output_conv.4.bias"
    del tensors[gone]
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        metadata = file.metadata()
    save_file(tensors, tmp_path / "m.safetensors", metadata)
    with pytest.raises(ModelError, match=gone):
        load_checkpoint(tmp_path / "m.safetensors")


def test_models_that_need_a_picture_say_in_the_list_where_they_draw(tmp_path: Path) -> None:
    folder = tmp_path / "Stable-diffusion"
    write_tiny_checkpoint(
        folder / "depth.safetensors", "sd2", config=tiny_depth_model(), header={"atelier.about": None}
    )
    write_tiny_checkpoint(folder / "larger.safetensors", "sd2", config=tiny_upscaler(), header={"atelier.about": None})
    depth, larger = Catalogue(tmp_path).list()
    assert "Img2Img and Inpaint" in depth.hint
    assert "four times as large in Img2Img" in larger.hint
    assert larger.settings == {"cfg_scale": 9.0}
