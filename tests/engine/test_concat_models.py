"""Models that read more than the latent, from the request to the pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.ext.studio import Studio
from tests.support import tiny_config, write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine.api import Pipeline
from webui.engine.devices import place
from webui.engine.models import Models
from webui.images.save import png_bytes
from webui.nn.config import with_extra
from webui.schema.errors import BadRequest
from webui.schema.events import Done, Event
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

FIELDS: dict[str, Any] = {"prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler", "steps": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    config = write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    for extra in ("inpaint", "edit"):
        path = folder / "Stable-diffusion" / f"{extra}.safetensors"
        write_tiny_checkpoint(path, config=with_extra(config, extra), seed=1)
    return folder


@pytest.fixture(scope="module")
def paint(folder: Path) -> Pipeline:
    return Pipeline.load("inpaint", models_dir=folder, device="cpu")


@pytest.fixture(scope="module")
def edit(folder: Path) -> Pipeline:
    return Pipeline.load("edit", models_dir=folder, device="cpu")


def pixels(pipe: Pipeline, request: Request) -> list[np.ndarray]:
    return [np.asarray(made.image).astype(int) for made in pipe.generate(request).images]


def picture(colour: str = "teal") -> Image.Image:
    return Image.new("RGB", (64, 48), colour)


def mask() -> Image.Image:
    found = Image.new("L", (64, 48))
    found.paste(255, (16, 8, 48, 40))
    return found


def test_an_inpainting_model_draws_in_every_tab_and_batch(paint: Pipeline) -> None:
    init, where = paint.add_image(picture()), paint.add_image(mask())
    requests = (
        Txt2Img(**FIELDS, batch_size=2, enable_hr=True, hr_scale=1.5),
        Img2Img(**FIELDS, batch_size=2, init_image=init),
        Inpaint(**FIELDS, batch_size=2, init_image=init, mask=where),
        Inpaint(**FIELDS, batch_size=2, init_image=init, mask=where, inpaint_area="Only masked"),
    )
    for request in requests:
        first, second = pixels(paint, request)
        assert abs(first - second).max() > 5
        (alone,) = pixels(paint, request.model_copy(update={"batch_size": 1, "seed": 6}))
        assert abs(alone - second).max() <= 1


def test_what_stands_around_the_mask_changes_what_is_drawn_under_it(paint: Pipeline) -> None:
    request = Inpaint(
        **FIELDS, init_image=paint.add_image(picture()), mask=paint.add_image(mask()), mask_blur=0,
        masked_content="latent nothing",
    )  # fmt: skip
    (first,) = pixels(paint, request)
    (second,) = pixels(paint, request.model_copy(update={"init_image": paint.add_image(picture("orange"))}))
    assert abs(first - second)[20:28, 28:36].max() > 5


def test_the_hires_pass_of_an_ordinary_model_may_have_an_inpainting_model(folder: Path) -> None:
    pipe = Pipeline.load("tiny", models_dir=folder, device="cpu")
    request = Txt2Img(**FIELDS, enable_hr=True, hr_scale=1.5, hr_upscaler="Lanczos", hr_model="inpaint")
    own, other = (pixels(pipe, one)[0] for one in (request.model_copy(update={"hr_model": ""}), request))
    assert own.shape == other.shape == (72, 96, 3)
    assert abs(own - other).max() > 5


def test_an_edit_model_draws_from_a_picture_by_both_scales(edit: Pipeline) -> None:
    init, where = edit.add_image(picture()), edit.add_image(mask())
    plain = Img2Img(**FIELDS, init_image=init, denoising_strength=1)
    masked = Inpaint(**FIELDS, init_image=init, mask=where, inpaint_area="Only masked", denoising_strength=1)
    for request in (plain, masked):
        (first,) = pixels(edit, request)
        for change in ({"image_cfg_scale": 3.0}, {"image_cfg_scale": 1.0}, {"cfg_scale": 1.0}):
            assert abs(first - pixels(edit, request.model_copy(update=change))[0]).max() > 5, change
        _, second = pixels(edit, request.model_copy(update={"batch_size": 2, "seed": 4}))
        assert abs(first - second).max() <= 1


def test_an_edit_model_takes_the_picture_into_account_beside_what_it_starts_from(edit: Pipeline) -> None:
    request = Inpaint(
        **FIELDS, init_image=edit.add_image(picture()), mask=edit.add_image(Image.new("L", (64, 48), 255)),
        masked_content="latent nothing", denoising_strength=1,
    )  # fmt: skip
    (first,) = pixels(edit, request)
    (second,) = pixels(edit, request.model_copy(update={"init_image": edit.add_image(picture("orange"))}))
    assert abs(first - second).max() > 5


@pytest.mark.parametrize("fields", [{}, {"model": "tiny", "enable_hr": True, "hr_model": "edit"}])
def test_an_edit_model_is_refused_where_it_has_no_picture(folder: Path, fields: dict[str, Any]) -> None:
    pipe = Pipeline.load(fields.get("model", "edit"), models_dir=folder, device="cpu")
    events: list[Event] = []
    with pytest.raises(BadRequest, match=r"edit edits pictures.*Img2Img or the Inpaint tab"):
        pipe.generate(Txt2Img(**{**FIELDS, **fields, "hr_upscaler": "Lanczos"}), events.append)
    assert events == []


def test_an_extension_may_change_the_words_of_an_edit_model(folder: Path, tmp_path: Path) -> None:
    studio = Studio(Models(Catalogue(folder), place("cpu")), tmp_path)
    data = png_bytes(picture())
    ref = ImageRef(sha256=hashlib.sha256(data).hexdigest())
    prompts = {"prompt": "a [cat:dog:0.5]", "negative_prompt": "a house"}
    request = Img2Img(**{**FIELDS, **prompts}, model="edit", subseed=0, init_image=ref)

    def drawn(**change: Any) -> bytes:
        last = studio.run(request.model_copy(update=change), {ref.sha256: data})
        assert isinstance(last, Done), last
        return studio.blobs[0]

    said = drawn(prompt="a red ball", negative_prompt="a cat")
    code = """
    from dataclasses import replace
    seen = []

    def open_pass(p):
        cond, uncond = p.encode("a red ball", "a cat")
        p.guidance = replace(p.guidance, conds=((cond, 1.0),), uncond=uncond)
        yield

    def before_unet(c):
        seen.append(tuple(c.x.shape[:2]))

    def combine(s):
        if s.guidance.cfg_scale == 7:
            return s.uncond + 7 * (s.conds[0] - s.uncond)
    """
    studio.add("words", code, "open_pass before_unet combine")
    assert drawn() == said
    assert set(studio.service("words", "seen")) == {(3, 8)}


def test_words_of_an_extension_go_with_what_the_model_reads_beside_the_latent(folder: Path, tmp_path: Path) -> None:
    studio = Studio(Models(Catalogue(folder), place("cpu")), tmp_path)
    said = studio.draw(model="inpaint", prompt="a blue cat")
    code = """
    from dataclasses import replace
    seen = []

    def open_pass(p):
        cond, uncond = p.encode("a blue cat")
        p.guidance = replace(p.guidance, conds=((cond, 1.0),), uncond=uncond)
        yield

    def before_unet(c):
        seen.append(c.x.shape[1])
    """
    studio.add("words", code, "open_pass before_unet")
    assert studio.draw(model="inpaint") == said
    assert set(studio.service("words", "seen")) == {9}


def test_control_networks_see_the_latent_alone(folder: Path) -> None:
    base = Models(Catalogue(folder), place("cpu")).executor("inpaint").base
    assert base.config.in_channels == 4
    assert base.config == tiny_config().unet
    assert base.weights["input_blocks.0.0.weight"].shape[1] == 4
