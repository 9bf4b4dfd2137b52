"""Depth models and the x4 upscaler, from the request to the pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from tests.ext.studio import Studio
from tests.support import tiny_depth_model, tiny_upscaler, write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine.api import Pipeline
from webui.engine.devices import place
from webui.engine.models import Models
from webui.images.save import png_bytes
from webui.nn.depth import DepthEstimator
from webui.schema.control import ControlUnit
from webui.schema.errors import BadRequest
from webui.schema.events import Done, Event
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

WORDS: dict[str, Any] = {"prompt": "a red ball", "seed": 5, "sampler": "Euler", "steps": 3}
FIELDS: dict[str, Any] = {**WORDS, "width": 64, "height": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    for name, config in (("depth", tiny_depth_model()), ("larger", tiny_upscaler())):
        write_tiny_checkpoint(folder / "Stable-diffusion" / f"{name}.safetensors", "sd2", config=config)
    return folder


@pytest.fixture(scope="module")
def depth(folder: Path) -> Pipeline:
    return Pipeline.load("depth", models_dir=folder, device="cpu")


@pytest.fixture(scope="module")
def larger(folder: Path) -> Pipeline:
    return Pipeline.load("larger", models_dir=folder, device="cpu")


def pixels(pipe: Pipeline, request: Request) -> list[np.ndarray]:
    return [np.asarray(made.image).astype(int) for made in pipe.generate(request).images]


def picture(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


def mask() -> Image.Image:
    found = Image.new("L", (64, 48))
    found.paste(255, (16, 8, 48, 40))
    return found


def test_a_depth_model_draws_from_a_picture_and_under_a_mask_alone_and_in_a_batch(depth: Pipeline) -> None:
    init, where = depth.add_image(picture()), depth.add_image(mask())
    requests = (
        Img2Img(**FIELDS, batch_size=2, init_image=init),
        Img2Img(**{**FIELDS, "width": 70, "height": 50}, batch_size=2, init_image=init),
        Inpaint(**FIELDS, batch_size=2, init_image=init, mask=where),
        Inpaint(**FIELDS, batch_size=2, init_image=init, mask=where, inpaint_area="Only masked"),
    )
    for request in requests:
        first, second = pixels(depth, request)
        assert abs(first - second).max() > 5
        (alone,) = pixels(depth, request.model_copy(update={"batch_size": 1, "seed": 6}))
        assert abs(alone - second).max() <= 1


def test_a_picture_is_looked_at_once_for_all_its_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = DepthEstimator.forward

    def counted(self: DepthEstimator, image: Tensor) -> Tensor:
        seen.append(len(image))
        return forward(self, image)

    monkeypatch.setattr(DepthEstimator, "forward", counted)
    pipe = Pipeline.load("depth", models_dir=folder, device="cpu")
    first = Img2Img(**FIELDS, batch_size=2, n_iter=2, init_image=pipe.add_image(picture()))
    pixels(pipe, first)
    assert seen == [1]
    pixels(pipe, first.model_copy(update={"init_image": pipe.add_image(picture(1))}))
    assert seen == [1, 1]


def test_depth_leads_the_drawing_beside_what_it_starts_from(depth: Pipeline) -> None:
    request = Inpaint(
        **FIELDS, init_image=depth.add_image(picture()), mask=depth.add_image(Image.new("L", (64, 48), 255)),
        masked_content="latent nothing", denoising_strength=1,
    )  # fmt: skip
    (first,) = pixels(depth, request)
    (second,) = pixels(depth, request.model_copy(update={"init_image": depth.add_image(picture(1))}))
    assert abs(first - second).max() > 5


def test_outside_the_mask_a_depth_model_keeps_every_pixel(depth: Pipeline) -> None:
    request = Inpaint(
        **FIELDS, init_image=depth.add_image(picture()), mask=depth.add_image(mask()), mask_blur=0
    )  # fmt: skip
    (made,) = pixels(depth, request)
    outside = np.asarray(mask()) == 0
    assert (made == np.asarray(picture()))[outside].all()
    assert (made != np.asarray(picture()))[~outside].any()


def test_an_upscaler_makes_a_picture_four_times_as_large(larger: Pipeline) -> None:
    request = Img2Img(**WORDS, init_image=larger.add_image(picture(size=(20, 17))), batch_size=2)
    first, second = pixels(larger, request)
    assert first.shape == (68, 80, 3)
    assert abs(first - second).max() > 5
    (alone,) = pixels(larger, request.model_copy(update={"batch_size": 1, "seed": 6}))
    assert abs(alone - second).max() <= 1


def test_what_an_upscaler_draws_follows_picture_noise_level_and_words_but_no_strength(larger: Pipeline) -> None:
    request = Img2Img(**WORDS, init_image=larger.add_image(picture(size=(16, 16))))
    (first,) = pixels(larger, request)
    for change in (
        {"noise_level": 200},
        {"prompt": "a blue cat"},
        {"init_image": larger.add_image(picture(1, (16, 16)))},
    ):
        assert abs(first - pixels(larger, request.model_copy(update=change))[0]).max() > 2, change
    for strength in (0.0, 0.4):
        assert (pixels(larger, request.model_copy(update={"denoising_strength": strength}))[0] == first).all()


@pytest.mark.parametrize("size", [(64, 64), (70, 50)])
def test_a_size_that_is_asked_for_is_what_comes(larger: Pipeline, size: tuple[int, int]) -> None:
    request = Img2Img(**WORDS, init_image=larger.add_image(picture()), width=size[0], height=size[1])
    (made,) = larger.generate(request).images
    assert made.image.size == size


def test_a_picture_that_would_become_too_large_is_refused_with_its_size(larger: Pipeline) -> None:
    init = larger.add_image(Image.new("RGB", (1100, 1000)))
    with pytest.raises(BadRequest, match="4400x4000 pixels; the limit is") as caught:
        larger.generate(Img2Img(**WORDS, init_image=init))
    assert "smaller width and height" in caught.value.cure


@pytest.mark.parametrize("upscaler", ["Lanczos", "Latent"])
@pytest.mark.parametrize(
    ("model", "fields", "says"),
    [
        ("depth", {}, r"depth draws by the depth of pictures.*Img2Img or the Inpaint tab"),
        ("tiny", {"enable_hr": True, "hr_model": "depth"}, r"depth draws by the depth of pictures"),
        ("larger", {}, r"larger enlarges pictures.*Img2Img tab"),
        ("tiny", {"enable_hr": True, "hr_model": "larger"}, r"larger enlarges pictures.*Img2Img tab"),
        ("tiny", {"refiner": "larger"}, r"reads more than the latent"),
    ],
)
def test_without_a_picture_they_are_refused_before_anything_is_drawn(
    folder: Path, model: str, fields: dict[str, Any], says: str, upscaler: str
) -> None:
    pipe = Pipeline.load(model, models_dir=folder, device="cpu")
    events: list[Event] = []
    with pytest.raises(BadRequest, match=says):
        pipe.generate(Txt2Img(**{**FIELDS, **fields, "hr_upscaler": upscaler}), events.append)
    assert events == []


def test_an_upscaler_repaints_no_part(larger: Pipeline) -> None:
    request = Inpaint(**FIELDS, init_image=larger.add_image(picture()), mask=larger.add_image(mask()))
    with pytest.raises(BadRequest, match=r"larger enlarges pictures.*whole"):
        larger.generate(request)


def test_a_refiner_cannot_take_an_upscaler_over(larger: Pipeline) -> None:
    request = Img2Img(**WORDS, init_image=larger.add_image(picture()), refiner="tiny")
    with pytest.raises(BadRequest, match="mean nothing to tiny"):
        larger.generate(request)


WORDS_OF_ANOTHER = """
from dataclasses import replace
seen = []

def open_pass(p):
    cond, uncond = p.encode("a blue cat")
    p.guidance = replace(p.guidance, conds=((cond, 1.0),), uncond=uncond)
    yield

def before_unet(c):
    seen.append(c.x.shape[1])
"""


@pytest.mark.parametrize(("model", "channels"), [("depth", 5), ("larger", 7)])
def test_words_of_an_extension_go_with_what_these_models_read(
    folder: Path, tmp_path: Path, model: str, channels: int
) -> None:
    studio = Studio(Models(Catalogue(folder), place("cpu")), tmp_path)
    data = png_bytes(picture())
    request = Img2Img(
        **FIELDS, model=model, subseed=0, init_image=ImageRef(sha256=hashlib.sha256(data).hexdigest())
    )  # fmt: skip

    def drawn(**change: Any) -> bytes:
        last = studio.run(request.model_copy(update=change), {request.init_image.sha256: data})
        assert isinstance(last, Done), last
        return studio.blobs[0]

    said = drawn(prompt="a blue cat")
    assert said != drawn()
    studio.add("words", WORDS_OF_ANOTHER, "open_pass before_unet")
    assert drawn() == said
    assert set(studio.service("words", "seen")) == {channels}


@pytest.mark.parametrize("model", ["depth", "larger"])
def test_a_unit_without_a_model_acts_on_them(folder: Path, model: str) -> None:
    pipe = Pipeline.load(model, models_dir=folder, device="cpu")
    unit = ControlUnit(image=pipe.add_image(picture(1)), preprocessor="reference_only")
    request = Img2Img(**{**FIELDS, "width": 70}, init_image=pipe.add_image(picture()), control=(unit,))
    (plain,) = pixels(pipe, request.model_copy(update={"control": ()}))
    (made,) = pixels(pipe, request)
    assert made.shape == plain.shape == (48, 70, 3)
    assert abs(made - plain).max() > 2


@pytest.mark.parametrize("mode", ["attention", "latent"])
@pytest.mark.parametrize("model", ["depth", "larger"])
def test_region_prompts_act_on_them(folder: Path, model: str, mode: str) -> None:
    pipe = Pipeline.load(model, models_dir=folder, device="cpu")
    fields = {**FIELDS, "width": 70, "init_image": pipe.add_image(picture())}
    (said,) = pixels(pipe, Img2Img(**{**fields, "prompt": "a blue cat"}))
    everywhere = {"regions": "everywhere: a blue cat", "base_ratio": 0.0, "common": False, "mode": mode}
    (made,) = pixels(pipe, Img2Img(**fields, ext={"regions": everywhere}))
    (plain,) = pixels(pipe, Img2Img(**fields))
    assert abs(made - plain).max() > 2
    if mode == "latent":
        assert abs(made - said).max() <= 1
