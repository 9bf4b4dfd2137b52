"""Depth: the real loading code on tiny networks, near is white, and transformers' own post-processing as the judge."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from transformers import DPTImageProcessorPil, ZoeDepthImageProcessorPil
from transformers.models.zoedepth import image_processing_pil_zoedepth

from tests.extensions.support import cloud, context, manifest, module, run
from tests.extensions.tiny import write_depth_anything, write_dpt, write_zoe
from webui.ext.maps import Map, PreprocessContext

MODELS = {
    "depth_anything_v2": "depth_anything_v2_small",
    "depth_anything": "depth_anything_small",
    "depth_midas": "dpt_hybrid_midas",
    "depth_zoe": "zoedepth_nyu_kitti",
}
PICTURE = cloud(60, 83)


def mapped(id: str, folder: Path, image: np.ndarray = PICTURE) -> Map:
    return run("depth", image, context({MODELS[id]: folder}), as_=id)


def test_each_preprocessor_declares_the_model_it_loads():
    assert {spec.id: spec.models for spec in manifest("depth").preprocessors} == {
        id: (model,) for id, model in MODELS.items()
    }


@pytest.mark.parametrize("write", [write_depth_anything, write_dpt, lambda folder: write_dpt(folder, hybrid=True)])
def test_inverse_depth_is_what_transformers_makes_of_the_same_network(write, tmp_path: Path):
    network = write(tmp_path)
    processor = DPTImageProcessorPil.from_pretrained(tmp_path)
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    second = processor.post_process_depth_estimation(output, [PICTURE.shape[:2]])[0]["predicted_depth"].numpy()
    assert second.std() > 0.01
    found = mapped("depth_anything_v2", tmp_path)
    assert found.data.dtype == np.float32
    assert np.allclose(found.data, second, atol=1e-5)
    grey = np.rint((second - second.min()) / (second.max() - second.min()) * 255)
    assert np.abs(found.image - grey[:, :, None]).max() <= 1
    assert found.image.min() == 0
    assert found.image.max() == 255


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one function that transformers' ZoeDepth post-processing wants of torchvision, which is not installed."""

    def resize(depth, size, interpolation, antialias):
        assert (interpolation, antialias) == ("bicubic", False)
        return interpolate(depth[None], size=tuple(size), mode="bicubic")[0]

    stand_in = SimpleNamespace(resize=resize, InterpolationMode=SimpleNamespace(BICUBIC="bicubic"))
    monkeypatch.setattr(image_processing_pil_zoedepth, "tvF", stand_in, raising=False)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("heads", [1, 2])
def test_zoedepth_is_what_transformers_makes_of_the_same_network_and_its_mirror_image(heads: int, tmp_path: Path):
    network = write_zoe(tmp_path, heads)
    processor = ZoeDepthImageProcessorPil.from_pretrained(tmp_path)
    pixels = processor(PICTURE, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        outputs, flipped = network(pixels), network(pixels.flip(-1))
    metres = processor.post_process_depth_estimation(
        outputs, source_sizes=[PICTURE.shape[:2]], outputs_flipped=flipped
    )[0]["predicted_depth"].numpy()
    assert metres.std() > 0.001
    found = mapped("depth_zoe", tmp_path)
    assert np.allclose(1 / found.data, np.maximum(metres, 1e-3), rtol=1e-4)
    near, far = np.percentile(metres, 2), np.percentile(metres, 85)
    second = 255 * (1 - np.clip((metres - near) / (far - near), 0, 1))
    assert np.abs(found.image - second[:, :, None]).max() <= 1


def ramp_context(values: np.ndarray, config: dict[str, str], folder: Path) -> PreprocessContext:
    """A context whose network answers with this depth (h w), whatever it is shown."""

    class Ramp(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> SimpleNamespace:
            depth = torch.from_numpy(values).float()[None]
            return SimpleNamespace(predicted_depth=depth)

    network = Ramp()
    network.config = SimpleNamespace(**config)
    base = context(dict.fromkeys(MODELS.values(), folder))
    return PreprocessContext(**{**vars(base), "load": lambda key, make: network})


def test_near_is_white_for_a_ramp_of_inverse_depth(tmp_path: Path):
    write_dpt(tmp_path)
    ramp = np.tile(np.linspace(3, 40, 32), (32, 1))  # nearer and nearer to the right
    ctx = ramp_context(ramp, {"model_type": "depth_anything"}, tmp_path)
    found = run("depth", np.zeros((32, 32, 3), np.uint8), ctx, as_="depth_anything_v2")
    assert np.array_equal(found.image[:, :, 0], np.tile(np.rint(np.arange(32) / 31 * 255), (32, 1)))


@pytest.mark.parametrize("kind", [{"model_type": "depth_anything", "depth_estimation_type": "metric"}])
def test_near_is_white_for_a_ramp_of_metres(kind: dict[str, str], tmp_path: Path):
    write_dpt(tmp_path)
    metres = np.tile(np.linspace(1, 101, 101), (101, 1))  # farther and farther to the right
    ctx = ramp_context(metres, kind, tmp_path)
    found = run("depth", np.zeros((101, 101, 3), np.uint8), ctx, as_="depth_anything_v2")
    row = found.image[50, :, 0].astype(int)
    second = np.rint(255 * (1 - np.clip((np.arange(101) - 2) / 83, 0, 1)))
    assert np.abs(row - second).max() <= 1
    assert (row[0], row[-1]) == (255, 0)
    assert np.allclose(found.data, 1 / metres)


def test_zoedepths_ramp_is_white_where_it_is_near(tmp_path: Path):
    write_zoe(tmp_path)
    metres = np.tile(np.linspace(1, 101, 32)[:, None], (1, 48))  # farther and farther to the bottom
    ctx = ramp_context(metres, {"model_type": "zoedepth"}, tmp_path)
    column = run("depth", np.zeros((64, 96, 3), np.uint8), ctx, as_="depth_zoe").image[:, 48, 0].astype(int)
    assert (column[0], column[-1]) == (255, 0)
    assert (np.diff(column) <= 0).all()
    assert column[31] == pytest.approx(255 * (1 - (31 - 0.02 * 63) / (0.83 * 63)), abs=2)


def test_a_metric_depth_anything_is_turned_round(tmp_path: Path):
    write_depth_anything(tmp_path, "metric")
    found = mapped("depth_anything_v2", tmp_path)
    order = np.argsort(found.data.ravel())
    assert (np.diff(found.image[:, :, 0].ravel()[order].astype(int)) >= 0).all()


def test_flat_depth_is_black_and_no_division_by_zero(tmp_path: Path):
    write_dpt(tmp_path)
    for kind in ("depth_anything", "dpt"):
        ctx = ramp_context(np.full((8, 8), 5.0), {"model_type": kind}, tmp_path)
        assert not run("depth", np.zeros((8, 8, 3), np.uint8), ctx, as_="depth_midas").image.any()


def test_pickles_are_not_read(tmp_path: Path):
    network = write_dpt(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        mapped("depth_midas", tmp_path)


def test_a_network_is_loaded_once(tmp_path: Path):
    write_dpt(tmp_path)
    ctx = context({"dpt_hybrid_midas": tmp_path})
    first = run("depth", PICTURE, ctx, as_="depth_midas")
    (tmp_path / "model.safetensors").unlink()
    assert np.array_equal(run("depth", PICTURE, ctx, as_="depth_midas").image, first.image)


def test_torchvision_is_not_wanted():
    with module("depth"):
        assert "torchvision" not in sys.modules
