"""Poses in control units: joints told in pixels of the map, and poses that need no picture."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.control.test_drawing import IMAGES, PICTURE, PLAIN, Drawing, ref
from tests.extensions.support import run
from webui.control.adapters import Map
from webui.control.geometry import Pixels
from webui.control.maps import MapCache, Source, blank, make_map
from webui.ext.state import ExtState
from webui.schema.control import ControlUnit
from webui.schema.events import MapReady
from webui.schema.requests import Img2Img, Inpaint, Txt2Img


class Sizes:
    """Preprocessors whose data is the size of the picture that they saw."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def kind(self, id: str) -> str:
        return self._kind

    def alone(self, id: str) -> bool:
        return False

    def looks(self, id: str) -> bool:
        return True

    def at_resolution(self, id: str) -> bool:
        return True

    def version(self, id: str) -> str:
        return "1"

    def run(self, id: str, image: Pixels, params: Any, mask: Pixels | None, rng: np.random.Generator) -> Map:
        return Map(image, (image.shape[:2], None if mask is None else mask.shape))


@pytest.mark.parametrize(("kind", "seen"), [("pose", (100, 131)), ("depth", (128, 192))])
def test_a_pose_is_looked_for_in_a_picture_as_large_as_the_map_without_a_rim(kind: str, seen: tuple[int, int]):
    source = Source("one", np.zeros((65, 85, 3), np.uint8), np.zeros((65, 85), np.uint8))
    unit = ControlUnit(preprocessor="any", resolution=100)
    found = make_map(unit, source, (64, 64), Sizes(kind), MapCache(), seed=0, mode="Just Resize")
    assert found.image.shape == (100, 131, 3)
    assert found.data == (seen, seen)


def test_a_blank_source_has_the_size_that_is_drawn():
    assert blank(30, 20).image.shape == (20, 30, 3)
    assert blank(30, 20).key != blank(20, 30).key


def pose(width: int, height: int, *points: tuple[float, float]) -> str:
    """A pose JSON whose first joints are at these shares of the canvas."""
    flat = [value for x, y in points for value in (x * width, y * height, 1)]
    person = {"pose_keypoints_2d": flat + [0] * (54 - len(flat))}
    return json.dumps({"people": [person], "canvas_width": width, "canvas_height": height})


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("pose")
    one = Drawing(home)
    ExtState(home / "data").enable("pose", allow=True)
    one.engine.refresh()
    return one


def posed(text: str, **changes: Any) -> ControlUnit:
    given = {"preprocessor": "openpose_json", "params": {"pose": text}, "model": "edges", "resolution": 96}
    return ControlUnit.model_validate(given | changes)


def test_a_pose_needs_no_picture_and_its_map_is_drawn_at_the_resolution(drawing: Drawing):
    text = pose(72, 48, (0.5, 0.25), (0.5, 0.75))
    drawing.run(Txt2Img(**PLAIN, control=(posed(text),)))
    (event,) = drawing.of(MapReady)
    assert (event.width, event.height) == (144, 96)
    assert event.data == json.loads(pose(144, 96, (0.5, 0.25), (0.5, 0.75))) | {"people": event.data["people"]}
    assert event.data["people"][0]["pose_keypoints_2d"][:6] == [72, 24, 1, 72, 72, 1]


def test_without_a_picture_the_pose_has_the_size_of_the_tabs_own(drawing: Drawing):
    units = (posed(pose(50, 90, (0.5, 0.5)), resolution=64),)
    drawing.run(Img2Img(**PLAIN, init_image=ref(PICTURE), control=units))
    (event,) = drawing.of(MapReady)
    assert (event.width, event.height) == (64, 115)


def test_the_part_that_is_inpainted_alone_gets_its_part_of_the_pose(drawing: Drawing, monkeypatch: Any):
    mask = Image.new("L", (50, 90))
    mask.paste(255, (10, 20, 30, 50))
    data = io.BytesIO()
    mask.save(data, "PNG")
    request = Inpaint(
        **PLAIN, init_image=ref(PICTURE), mask=ref(data.getvalue()), inpaint_area="Only masked", padding=4,
        control=(posed(pose(50, 90, (0.4, 0.39), (0.4, 0.95)), resolution=64),),
    )  # fmt: skip
    blobs: list[tuple[MapReady, bytes]] = []

    def emit(event: Any, blob: bytes | None) -> None:
        if isinstance(event, MapReady) and blob is not None:
            blobs.append((event, blob))

    drawing.engine.run("job", request, IMAGES | {hashlib.sha256(data.getvalue()).hexdigest(): data.getvalue()}, emit)
    ((event, blob),) = blobs
    pixels = np.frombuffer(blob, np.uint8).reshape(event.height, event.width, 3)
    nose = np.argwhere((pixels == (255, 0, 0)).all(axis=2))
    neck = (pixels == (255, 85, 0)).all(axis=2)
    assert (event.height, event.width) != (90, 50)
    assert len(nose) > 0
    assert not neck.any()  # it lies below the part


def test_several_people_with_hands_and_faces_fit_into_a_unit():
    person = {
        name: [123.456, 456.789, 0.987] * count
        for name, count in {
            "pose_keypoints_2d": 18, "face_keypoints_2d": 70, "hand_left_keypoints_2d": 21,
            "hand_right_keypoints_2d": 21,
        }.items()
    }  # fmt: skip
    text = json.dumps({"people": [person] * 40, "canvas_width": 1024, "canvas_height": 1024})
    assert 100_000 < len(text) < 200_000
    found = run("pose", np.zeros((64, 64, 3), np.uint8), as_="openpose_json", pose=text)
    assert len(found.data["people"]) == 40
