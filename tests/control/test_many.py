"""A job may have as many control units as its user wants: each map is made once, each network loaded once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from tests.control.test_drawing import PICTURE, PLAIN, Drawing, ref
from webui.control import shelf
from webui.control.adapters import Map
from webui.control.geometry import Pixels
from webui.control.maps import KEPT_MAPS, MapCache, Source, make_map
from webui.control.shelf import KEPT_NETWORKS
from webui.schema.control import ControlUnit
from webui.schema.events import MapReady, UnitReport
from webui.schema.requests import Txt2Img

FILES = KEPT_NETWORKS + 2


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    torch.set_num_threads(1)
    one = Drawing(tmp_path_factory.mktemp("many"))
    folder = one.engine.models.catalogue.models_dir / "ControlNet"
    for number in range(FILES):
        shutil.copy(folder / "edges.safetensors", folder / f"edges{number}.safetensors")
    return one


def test_twelve_units_act_in_one_picture_and_each_tells_of_itself(drawing: Drawing) -> None:
    share = {"weight": 0.05, "image": ref(PICTURE)}
    units = tuple(ControlUnit(**share, model=f"edges{number % FILES}") for number in range(12))
    request = Txt2Img(**PLAIN, control=units)
    (drawn,) = drawing.run(request)
    assert [event.unit for event in drawing.of(MapReady)] == list(range(1, 13))
    reports = drawing.of(UnitReport)
    assert [report.unit for report in reports] == list(range(1, 13))
    assert all(min(report.ratios) > 0 for report in reports)
    (alone,) = drawing.run(Txt2Img(**PLAIN, control=(ControlUnit(**{**share, "weight": 0.6}, model="edges"),)))
    sums = (np.frombuffer(one, np.uint8).astype(int) for one in (drawn, alone))
    assert np.abs(next(sums) - next(sums)).max() <= 1  # twelve times 0.05 of one network is 0.6 of it


def test_more_networks_than_are_kept_are_loaded_once_in_a_job(
    drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = shelf.load_control
    monkeypatch.setattr(shelf, "load_control", lambda model, *rest: (loaded.append(model.name), load(model, *rest))[1])
    drawing.engine.extensions.shelf.clear()
    names = [f"edges{number}" for number in range(FILES)]
    drawing.draw(*({"model": name, "weight": 0.1} for name in names), n_iter=3)
    assert loaded == names
    drawing.draw(*({"model": name, "weight": 0.1} for name in names[-KEPT_NETWORKS:]))
    assert loaded == names  # the last ones are still there; the others went when the job was over
    drawing.draw({"model": names[0], "weight": 0.1})
    assert loaded == [*names, names[0]]


class Counting:
    """A preprocessor that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def kind(self, id: str) -> str:
        return "image"

    def alone(self, id: str) -> bool:
        return False

    def looks(self, id: str) -> bool:
        return True

    def at_resolution(self, id: str) -> bool:
        return False

    def version(self, id: str) -> str:
        return "1"

    def run(
        self, id: str, image: Pixels, params: Mapping[str, Any], mask: Pixels | None, rng: np.random.Generator
    ) -> Map:
        self.calls += 1
        return Map(image)


def test_more_maps_than_are_kept_are_made_once_in_a_job() -> None:
    count = KEPT_MAPS + 10
    cache, made, source = MapCache(), Counting(), Source("a", np.zeros((8, 8, 3), np.uint8))
    cache.make_room(count)
    for _picture in range(2):
        for number in range(count):
            make_map(ControlUnit(preprocessor="p", params={"n": number}), source, (8, 8), made, cache, 0, "Just Resize")
    assert made.calls == count


def test_maps_of_a_job_of_many_units_go_when_others_come() -> None:
    cache, made, source = MapCache(limit=2), Counting(), Source("a", np.zeros((8, 8, 3), np.uint8))
    cache.make_room(10)
    for units, number in [(10, number) for number in range(12)] + [(0, 99)]:
        cache.make_room(units)
        make_map(ControlUnit(preprocessor="p", params={"n": number}), source, (8, 8), made, cache, 0, "Just Resize")
    kept = [number for number in range(12) if cache.get(f'a|p|1|{{"n": {number}}}|0', 0) is not None]
    assert kept == [11]
