"""Region prompts in whole jobs: every kind of picture, batches, and nothing left behind."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.ext.studio import PLAIN, Studio
from tests.extensions.conftest import bundle
from tests.support import write_tiny_checkpoint
from webui.schema.events import Done, ImageReady
from webui.schema.requests import Img2Img, Inpaint, Txt2Img

BALL = "a blue cube"
EVERYWHERE = {"regions": {"regions": f"everywhere: {BALL}", "base_ratio": 0.0}}
HALVES = {"regions": {"regions": "left: a ball\nright: a cube"}}


@pytest.fixture
def regions(studio: Studio) -> Studio:
    return bundle(studio, "regions")


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def pictures() -> dict[str, bytes]:
    """A picture and a mask, by name."""
    image = Image.linear_gradient("L").resize((80, 64)).convert("RGB")
    mask = Image.new("L", (80, 64))
    ImageDraw.Draw(mask).rectangle((40, 16, 63, 39), fill=255)
    return {"init_image": png(image), "mask": png(mask)}


KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "hires": (Txt2Img, {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7}),
    "img2img": (Img2Img, {"denoising_strength": 0.8}),
    "inpaint": (Inpaint, {"denoising_strength": 0.8}),
    "only masked": (Inpaint, {"denoising_strength": 0.8, "inpaint_area": "Only masked", "padding": 8}),
    "SDE sampler": (Txt2Img, {"sampler": "DPM++ SDE"}),
    "CFG++ sampler": (Txt2Img, {"sampler": "Euler CFG++"}),
    "no guidance": (Txt2Img, {"cfg_scale": 1.0}),
    "rescaled guidance": (Txt2Img, {"cfg_rescale": 0.7}),
    "batch": (Txt2Img, {"batch_size": 2}),
}


def draw(studio: Studio, kind: str, **fields: Any) -> list[np.ndarray]:
    request, more = KINDS[kind]
    given = {name: data for name, data in pictures().items() if name in request.model_fields}
    names = {name: hashlib.sha256(data).hexdigest() for name, data in given.items()}
    references = {name: {"sha256": name_} for name, name_ in names.items()}
    kind_ = {"kind": request.model_fields["kind"].default}
    wanted = request(**{**PLAIN, **more, **kind_, **references, **fields})
    last = studio.run(wanted, {names[name]: data for name, data in given.items()})
    assert isinstance(last, Done), last
    return [np.frombuffer(blob, np.uint8).astype(int) for blob in studio.blobs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_of_everything_draws_what_its_prompt_draws(regions: Studio, kind: str):
    alone = draw(regions, kind, prompt=BALL)
    for mode in ("attention", "latent"):
        found = draw(regions, kind, ext={"regions": {**EVERYWHERE["regions"], "mode": mode}})
        assert all(np.abs(one - other).max() <= 1 for one, other in zip(found, alone, strict=True)), mode


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_other_families_draw_regions_too(regions: Studio, tiny_models: Path, family: str):
    """SDXL's pooled text is that of the region, too."""
    write_tiny_checkpoint(tiny_models / "Stable-diffusion" / f"{family}.safetensors", family, seed=3)
    (alone,) = regions.draw(model=family, prompt=BALL)
    for mode in ("attention", "latent"):
        (found,) = regions.draw(model=family, ext={"regions": {**EVERYWHERE["regions"], "mode": mode}})
        assert np.abs(np.frombuffer(found, np.uint8).astype(int) - np.frombuffer(alone, np.uint8)).max() <= 1


@pytest.mark.parametrize("mode", ["attention", "latent"])
def test_a_batch_draws_the_pictures_of_its_seeds(regions: Studio, mode: str):
    ext = {"regions": {**HALVES["regions"], "mode": mode}}
    together = regions.draw(ext=ext, batch_size=2)
    alone = regions.draw(ext=ext)[0], regions.draw(ext=ext, seed=PLAIN["seed"] + 1)[0]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8)).max() <= 1


def test_the_plain_picture_is_the_same_without_regions_with_them_off_and_after_they_ran(regions: Studio):
    plain = regions.draw()
    assert regions.draw(ext={"regions": {"regions": "# nothing yet\n"}}) == plain
    assert regions.draw(ext={"regions": {**HALVES["regions"], "enabled": False}}) == plain
    for mode in ("attention", "latent"):
        assert regions.draw(ext={"regions": {**HALVES["regions"], "mode": mode}}) != plain
        assert regions.draw() == plain
    assert regions.notes == []


def test_only_the_part_that_is_masked_sees_the_regions_that_lie_there(regions: Studio):
    """Drawn are the columns from 36 to 68 of 80."""
    tight = {"mask_blur": 0, "padding": 0}
    inside = {"regions": {"regions": f"right 0.6: {BALL}", "base_ratio": 0.0}}
    outside = {"regions": {"regions": f"left 0.4: {BALL}", "base_ratio": 0.0}}
    for ext, prompt in ((inside, BALL), (outside, PLAIN["prompt"])):
        found = draw(regions, "only masked", ext=ext, **tight)[0]
        assert np.abs(found - draw(regions, "only masked", prompt=prompt, **tight)[0]).max() <= 1


def test_a_painting_acts_as_the_same_regions_typed(regions: Studio):
    painting = Image.new("RGB", (32, 24), "red")
    painting.paste("blue", (16, 0, 32, 24))
    data = png(painting)
    name = hashlib.sha256(data).hexdigest()
    values = {"regions": "red: a ball\nblue: a cube", "painting": {"sha256": name}}
    assert isinstance(regions.run(Txt2Img(**PLAIN, ext={"regions": values}), {name: data}), Done)
    assert regions.blobs == regions.draw(ext=HALVES)


def test_the_regions_stand_in_the_pictures_text(regions: Studio):
    regions.draw(ext=HALVES)
    (ready,) = regions.of(ImageReady)
    assert ready.infotext["Regions"] == "left: a ball\nright: a cube"


def test_a_region_that_cannot_be_read_fails_the_job_before_it_draws(regions: Studio):
    message = regions.failure(ext={"regions": {"regions": "leftish: a ball"}})
    assert message == "Extension \"regions\": Region 1 cannot be read: 'leftish: a ball'."
