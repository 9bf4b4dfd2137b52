"""Models that read more than the latent, from the request to the pixels."""

from __future__ import annotations

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
from webui.nn.config import with_extra
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

FIELDS: dict[str, Any] = {"prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler", "steps": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    config = write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    for extra in ("inpaint",):
        path = folder / "Stable-diffusion" / f"{extra}.safetensors"
        write_tiny_checkpoint(path, config=with_extra(config, extra), seed=1)
    return folder


@pytest.fixture(scope="module")
def paint(folder: Path) -> Pipeline:
    return Pipeline.load("inpaint", models_dir=folder, device="cpu")


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
