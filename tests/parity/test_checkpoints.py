"""Checkpoints of every family in both layouts, through the normal path, against diffusers on the same weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.nn.weights import relative_error
from tests.parity.families import (
    Theirs,
    build,
    given_to,
    our_answers,
    save_folder,
    save_ldm,
    shrunk,
    their_answers,
)  # fmt: skip
from tests.published import PUBLISHED, Published
from webui import Img2Img, Pipeline, Txt2Img
from webui.checkpoints.load import LoadedModel, load_checkpoint
from webui.schema.errors import ModelError

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=PUBLISHED)
def case(request: pytest.FixtureRequest) -> tuple[Published, Theirs]:
    """A family and its models with random weights."""
    known = shrunk(request.param)
    return known, build(known)


def assert_agree(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float = TOLERANCE) -> None:
    assert ours.keys() == theirs.keys()
    for name, answer in ours.items():
        assert relative_error(answer, theirs[name]) < tolerance, name
        assert answer.std() > 0.01, name
        if len(answer) > 1:
            assert relative_error(answer[0], answer[1]) > 0.01, name


def weights(model: LoadedModel) -> dict[str, Tensor]:
    """Every weight by module and name; of the text encoders those that are read."""
    modules = {"unet": model.unet, "vae": model.vae}
    modules |= {f"text{index}": text for index, text in enumerate(model.texts)}
    modules |= {"depth": model.depth} if model.depth is not None else {}
    return {
        f"{part}.{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
    }


def test_a_folder_and_an_ldm_file_agree_with_diffusers(case: tuple[Published, Theirs], tmp_path: Path) -> None:
    known, theirs = case
    folder = load_checkpoint(save_folder(theirs, known, tmp_path / "folder"))
    given = given_to(known, folder.config)
    expected = their_answers(theirs, given)
    assert_agree(our_answers(folder, given), expected)
    single = load_checkpoint(save_ldm(theirs, known, folder.config, tmp_path / "single.safetensors", torch.float32))
    assert_agree(our_answers(single, given), expected)
    told = ("family", "unet", "vae", "prediction", "schedule", "extra", "depth")
    assert [getattr(single.config, name) for name in told] == [getattr(folder.config, name) for name in told]
    assert (single.config.family, single.config.extra) == (known.config.family, known.config.extra)
    assert single.unknown == folder.unknown == ()
    ours, theirs_too = weights(single), weights(folder)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs_too.items())


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_folder_in_shards_or_in_half_precision_loads_as_a_plain_one(name: str, tmp_path: Path) -> None:
    known = shrunk(name)
    theirs = build(known)
    plain = weights(load_checkpoint(save_folder(theirs, known, tmp_path / "plain")))
    shards = save_folder(theirs, known, tmp_path / "shards", max_shard_size="5MB")
    assert len(list((shards / "unet").glob("*-of-*.safetensors"))) > 1
    assert all(torch.equal(plain[key], tensor) for key, tensor in weights(load_checkpoint(shards)).items())
    for module in (theirs.unet, theirs.vae, *theirs.texts.values()):
        module.half()
    half = save_folder(theirs, known, tmp_path / "half", variant="fp16")
    assert (half / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    assert all(torch.equal(plain[key].half().float(), tensor) for key, tensor in weights(load_checkpoint(half)).items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("name", ["sd21"])
def test_weights_of_few_bits_arrive_as_they_are(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    known = shrunk(name)
    theirs = build(known)
    folder = load_checkpoint(save_folder(theirs, known, tmp_path / "folder"))
    path = save_ldm(theirs, known, folder.config, tmp_path / "m.safetensors", dtype)
    for wanted in (torch.float32, torch.bfloat16):
        found = weights(load_checkpoint(path, wanted))
        for key, tensor in weights(folder).items():
            assert torch.equal(found[key], tensor.to(dtype).to(wanted)), key


def test_a_folder_and_an_ldm_file_of_the_same_weights_draw_the_same_picture(tmp_path: Path) -> None:
    known = shrunk("sd15")
    theirs, models = build(known), tmp_path / "Stable-diffusion"
    config = load_checkpoint(save_folder(theirs, known, models / "folder-v1.0")).config
    save_ldm(theirs, known, config, models / "single.safetensors", torch.float32)
    request = Txt2Img(prompt="a red ball", steps=2, width=64, height=64, seed=1)
    pictures = [Pipeline.load(name, models_dir=tmp_path).generate(request) for name in ("folder-v1.0", "single")]
    (models / "folder-v1.0").rename(tmp_path / "away-v1.0")
    by_path = Pipeline.load(str(tmp_path / "away-v1.0"))
    assert by_path.model.name == "away-v1.0"
    first, second, third = (made.images[0].image for made in (*pictures, by_path.generate(request)))
    assert np.array_equal(first, third)
    away = np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int))
    assert away.max() <= 1  # where weights lie in a mapped file decides how sums are rounded
    assert np.asarray(first).std() > 5


def test_a_model_that_no_pass_can_use_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    known = shrunk("sd2-depth")
    folder = save_folder(build(known), known, tmp_path / "Stable-diffusion" / "deep")
    (folder / "depth_estimator").rename(folder / "away")
    pipe = Pipeline.load("deep", models_dir=tmp_path)
    assert "depth estimator" in pipe.model.error
    with pytest.raises(ModelError, match="without its depth estimator"):
        pipe.generate(Img2Img(prompt="a red ball", steps=2, init_image=pipe.add_image(Image.new("RGB", (64, 64)))))


@torch.no_grad()
def test_clip_skip_means_the_same_where_a_folder_lacks_the_last_layer_of_a_text_encoder(tmp_path: Path) -> None:
    known = shrunk("sd21")
    theirs = build(known)
    folder = load_checkpoint(save_folder(theirs, known, tmp_path / "folder"))
    single = load_checkpoint(save_ldm(theirs, known, folder.config, tmp_path / "m.safetensors", torch.float32))
    ids = given_to(known, folder.config)["ids"]
    (ours,), (whole,) = folder.texts, single.texts
    assert (ours.config.absent, whole.config.absent) == (1, 0)
    for skip in (None, 2, 3):
        assert relative_error(ours(ids, skip).hidden, whole(ids, skip).hidden) < 1e-6
    with pytest.raises(ValueError, match=r"clip skip 1 is outside 2\.\.3"):
        ours(ids, 1)
