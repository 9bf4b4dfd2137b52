"""A request as it was typed becomes the request as its job will run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from tests.fake_engine import TOYBOX, FakeModels
from tests.runtime.conftest import txt2img
from webui.runtime.inputs import Inputs
from webui.runtime.prepare import Desk, prepare
from webui.runtime.steering import Steering
from webui.schema.errors import BadRequest, NotFound
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint
from webui.schema.resolve import default_model
from webui.schema.results import ModelInfo

LARGE = ModelInfo(name="large", file="large.safetensors", native_size=1024)
BROKEN = ModelInfo(name="aaa", file="aaa.safetensors", error="The file is empty.")


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def picture(inputs: Inputs, width: int, height: int) -> dict[str, str]:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return inputs.add(file.getvalue()).model_dump()


def test_the_default_model_is_the_one_that_ships_else_the_first_usable() -> None:
    assert default_model(FakeModels(BROKEN, LARGE, TOYBOX).list()) == "toybox"
    assert default_model(FakeModels(BROKEN, LARGE).list()) == "large"
    assert default_model(FakeModels(BROKEN, LARGE, TOYBOX).list(), "large") == "large"


def test_without_a_usable_model_the_cure_is_told() -> None:
    with pytest.raises(NotFound, match=r"Put a .safetensors checkpoint into models/Stable-diffusion"):
        default_model(FakeModels(BROKEN).list())


def test_what_is_left_open_is_fixed(inputs: Inputs) -> None:
    fixed = prepare(txt2img(model="large"), FakeModels(TOYBOX, LARGE), inputs)
    assert (fixed.model, fixed.width, fixed.height) == ("large", 1024, 1024)
    assert fixed.seed >= 0
    assert fixed.subseed >= 0


def test_what_was_asked_for_stays(inputs: Inputs) -> None:
    request = txt2img(model="toybox", width=24, height=200, seed=7, subseed=9)
    assert prepare(request, FakeModels(), inputs) == request


def test_a_model_asked_for_by_its_file_is_written_down_by_its_name(inputs: Inputs) -> None:
    assert prepare(txt2img(model="toybox.safetensors"), FakeModels(), inputs).model == "toybox"


def test_a_picture_keeps_its_size(inputs: Inputs) -> None:
    request = Img2Img.model_validate({"init_image": picture(inputs, 50, 30)})
    fixed = prepare(request, FakeModels(), inputs)
    assert (fixed.width, fixed.height) == (50, 30)
    sized = prepare(request.model_copy(update={"width": 64}), FakeModels(), inputs)
    assert (sized.width, sized.height) == (64, 30)


def test_a_mask_that_was_never_handed_in_is_missed_at_once(inputs: Inputs) -> None:
    request = Inpaint.model_validate({"init_image": picture(inputs, 50, 30), "mask": {"sha256": "0" * 64}})
    with pytest.raises(NotFound, match="Choose the picture again"):
        prepare(request, FakeModels(), inputs)


UPSCALER = ModelInfo(name="larger", file="larger.safetensors", extra="upscale")


def test_an_upscaler_makes_a_picture_four_times_as_large_and_begins_with_noise_alone(inputs: Inputs) -> None:
    request = Img2Img.model_validate({"init_image": picture(inputs, 50, 30), "model": "larger"})
    fixed = prepare(request, FakeModels(UPSCALER), inputs)
    assert (fixed.width, fixed.height) == (200, 120)
    assert isinstance(fixed, Img2Img)
    assert fixed.denoising_strength == 1
    sized = prepare(request.model_copy(update={"width": 64, "height": 48}), FakeModels(UPSCALER), inputs)
    assert (sized.width, sized.height) == (64, 48)


def test_a_picture_too_large_for_an_upscaler_is_refused_with_its_size(inputs: Inputs) -> None:
    large = Img2Img.model_validate({"init_image": picture(inputs, 2000, 1500), "model": "larger"})
    with pytest.raises(BadRequest, match="8000x6000"):
        prepare(large, FakeModels(UPSCALER), inputs)


def test_the_size_of_a_map_is_that_of_what_an_upscaler_draws(inputs: Inputs) -> None:
    desk = Desk(FakeModels(UPSCALER, TOYBOX), inputs, cast(Steering, None))
    like = ImageRef.model_validate(picture(inputs, 50, 30))
    assert desk.size("larger", like) == (200, 120)
    assert desk.size("toybox", like) == desk.size("", like) == (50, 30)
