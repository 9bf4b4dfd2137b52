"""A preview of a control unit against the hint that the job's network gets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.control.small import write
from tests.extensions.support import ROOT
from tests.nn.weights import randomise
from tests.support import write_tiny_checkpoint
from webui.control.bank import UnitBank
from webui.engine.answers import Answers, Ask
from webui.engine.devices import place
from webui.engine.engine import Engine
from webui.engine.extensions import Folders
from webui.engine.units import first_frame
from webui.ext.state import ExtState
from webui.images.given import GivenPictures
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.schema.asks import Answer, Preprocess
from webui.schema.control import CONTROL_RESIZE_MODES, ControlUnit
from webui.schema.images import ImageRef
from webui.schema.requests import RESIZE_MODES, Img2Img, Inpaint, Request, Txt2Img

COMMON: dict[str, Any] = {"model": "tiny", "prompt": "a red ball", "seed": 5, "width": 72, "height": 44}


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def blocks(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


def masked(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 2, width - 4, height // 2))
    return mask


FILES = (png(blocks(90, 50, 1)), png(masked(90, 50)), png(blocks(40, 80, 2)))
IMAGES = {hashlib.sha256(data).hexdigest(): data for data in FILES}
FIRST, MASK, OWN = (ImageRef(sha256=sha) for sha in IMAGES)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    torch.set_num_threads(1)
    home: Path = tmp_path_factory.mktemp("answers")
    config = write_tiny_checkpoint(home / "models" / "Stable-diffusion" / "tiny.safetensors")
    for name, seed in (("edges", 1), ("edges_inpaint", 2)):
        net = randomise(ControlNet(ControlNetConfig(config.unet, hint_widths=(4, 8, 12, 20))), seed=seed)
        write(home / "models" / "ControlNet" / f"{name}.safetensors", net.state_dict(), config.unet, config.family)
    (home / "data").mkdir()
    for id in ("controlnet", "canny"):
        ExtState(home / "data").enable(id, allow=True)
    made = Engine(home / "models", place("cpu"), folders=Folders((ROOT,), home / "data"))
    made.models.executor("tiny")
    return made


def hint_of_the_job(engine: Engine, request: Request) -> np.ndarray:
    """What the network gets, (h w 3) in 0..255; -1 as 0. By the calls of `webui.engine.job.Job`."""
    executor, pictures = engine.models.executor("tiny"), GivenPictures(IMAGES).open
    with torch.inference_mode():
        tools = engine.extensions.control_tools(executor, pictures, lambda _text: None, lambda: None)
        bank, frame = UnitBank(request, tools), first_frame(request, executor.facts, pictures)
        list(bank.prepare(frame))
        (unit,) = bank.open(frame, frame).units
        image = unit.hint.image[0, :, : frame.height, : frame.width].permute(1, 2, 0)
        return np.asarray((image.clamp(min=0) * 255).round().to(torch.uint8))


def preview(engine: Engine, question: Preprocess, images: Mapping[str, bytes] = IMAGES) -> tuple[Answer, np.ndarray]:
    """The answer and its picture (h w 3), fresh: nothing is taken from maps that the job made."""
    engine.extensions.maps.__init__()  # type: ignore[misc]
    replies: list[tuple[Answer, tuple[bytes, ...]]] = []
    body = question.model_dump(mode="json")
    ask = Ask("preprocess", body, images, lambda answer, frames: replies.append((answer, frames)))
    Answers(engine.extensions, engine.models).answer(ask)
    ((answer, frames),) = replies
    assert answer.error is None, answer.error
    width, height = answer.sizes[0]
    return answer, np.frombuffer(frames[0], np.uint8).reshape(height, width, 3)


def request_of(kind: str, mode: str, unit: ControlUnit) -> Request:
    tab = {**COMMON, "control": (unit,)}
    if kind == "txt2img":
        return Txt2Img(**tab)
    from_picture = {**tab, "init_image": FIRST, "resize_mode": mode}
    if kind == "img2img":
        return Img2Img(**from_picture)
    return Inpaint(**from_picture, mask=MASK, inpaint_area=kind, padding=3, mask_blur=2)


@pytest.mark.parametrize("kind", ["txt2img", "img2img", "Whole picture", "Only masked"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("pixel_perfect", [True, False])
@pytest.mark.parametrize("mode", range(3))
def test_what_the_model_sees_is_the_hint_of_the_job(
    engine: Engine, kind: str, own: bool, pixel_perfect: bool, mode: int
) -> None:
    inpaints = kind in ("Whole picture", "Only masked")
    unit = ControlUnit(
        image=OWN if own or kind == "txt2img" else None, preprocessor="canny", pixel_perfect=pixel_perfect,
        resolution=64, model="edges_inpaint" if inpaints else "edges", resize_mode=CONTROL_RESIZE_MODES[mode],
    )  # fmt: skip
    request = request_of(kind, RESIZE_MODES[(mode + 1) % 3], unit)
    tab = request.model_copy(update={"control": ()})
    question = Preprocess(unit=unit, tab=tab, width=72, height=44, fit=True, seed=5)
    answer, seen = preview(engine, question)
    assert np.array_equal(seen, hint_of_the_job(engine, request))
    assert seen.shape == (44, 72, 3)
    assert seen.any()
    assert answer.body["masked"] is inpaints


def test_a_question_without_a_tab_takes_its_picture_as_the_units_own(engine: Engine) -> None:
    unit = ControlUnit(preprocessor="canny", model="edges", resolution=64, resize_mode="Resize and Fill")
    _, seen = preview(engine, Preprocess(unit=unit, image=OWN, width=72, height=44, fit=True))
    expected = request_of("txt2img", "", unit.model_copy(update={"image": OWN}))
    assert np.array_equal(seen, hint_of_the_job(engine, expected))


def test_the_bare_map_is_of_the_whole_picture_so_that_it_can_become_a_units_own(engine: Engine) -> None:
    unit = ControlUnit(preprocessor="canny", model="edges", resolution=64)
    tab = request_of("Only masked", "Just resize", unit)
    _, found = preview(engine, Preprocess(unit=unit, tab=tab, width=72, height=44))
    assert found.shape == (64, 115, 3)  # 90 x 50 with its shorter side 64


def test_a_mask_of_the_unit_is_shown_to_an_inpaint_network_alone(engine: Engine) -> None:
    for model, black in (("edges_inpaint", True), ("edges", False), ("", False)):
        unit = ControlUnit(image=FIRST, mask=MASK, model=model)
        answer, seen = preview(engine, Preprocess(unit=unit, width=90, height=50, fit=True))
        assert (answer.body["masked"], not seen[4:20, 50:80].any()) == (black, black)
