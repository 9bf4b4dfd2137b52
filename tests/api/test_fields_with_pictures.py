"""A field of an extension that takes a picture, by the example of `regions`: REST, PNG text and command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.api.test_native import finish, png, problem, submit
from tests.fake_engine import FakeEngine, FakeModels
from webui.cli_control import add_steering_options, extensions_of, read_steering
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.schema.errors import BadImage
from webui.schema.images import ImageRef
from webui.schema.requests import Txt2Img

NOWHERE = {"sha256": "0" * 64}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """With the extensions that come with the program."""
    folders = {"models_dir": tmp_path / "models", "output_dir": tmp_path / "out", "data_dir": tmp_path / "data"}
    with Runtime(Settings(**folders), partial(FakeEngine, step_seconds=0.001), FakeModels()) as one:
        yield one


def test_a_request_knows_the_pictures_of_extensions():
    request = Txt2Img(ext={"regions": {"painting": NOWHERE, "regions": "left: x"}, "other": {"text": "sha256"}})
    assert request.image_refs == (ImageRef(**NOWHERE),)


def test_a_picture_is_handed_in_used_told_in_the_text_and_missed(one: TestClient, runtime: Runtime):
    painting = one.post("/api/v1/images", content=png()).json()
    values = {"regions": "red: a ball", "painting": painting}
    view = finish(one, submit(one, ext={"regions": values}))
    assert view["request"]["ext"]["regions"] == {
        "enabled": True, "base_ratio": 0.2, "mode": "attention", "common": False, **values,
    }  # fmt: skip
    saved = one.get(f"/api/v1/images/{view['images'][0]['id']}.png").content
    read = one.post("/api/v1/png-info", content=saved).json()
    assert read["fields"]["ext"]["regions"]["painting"] == painting
    assert read["notes"] == []
    runtime.inputs.path(ImageRef(**painting)).unlink()
    notes = one.post("/api/v1/png-info", content=saved).json()["notes"]
    assert notes == ["A picture of the extension 'regions' is not on this server: choose it again."]


def test_a_picture_that_was_never_handed_in_is_refused(one: TestClient):
    body = {"kind": "txt2img", "ext": {"regions": {"regions": "red: a ball", "painting": NOWHERE}}}
    assert "not there" in problem(one.post("/api/v1/jobs", json=body), 404)["message"]
    body["ext"]["regions"]["painting"] = "ball.png"
    refused = problem(one.post("/api/v1/jobs", json=body), 422)["message"]
    assert refused == "Region prompts: The parameter \"painting\" is 'ball.png' but must name a picture by its sha256."


def test_on_the_command_line_it_is_a_file(tmp_path: Path):
    extensions = extensions_of(["--data-dir", str(tmp_path)])
    parser = argparse.ArgumentParser()
    add_steering_options(parser, extensions)
    (tmp_path / "painted.png").write_bytes(png())
    given = ["--ext-regions-painting", str(tmp_path / "painted.png")]
    steered = read_steering(parser.parse_args(given), extensions)
    assert steered.pictures == [png()]
    assert ImageRef(**steered.ext["regions"]["painting"])
    (tmp_path / "painted.png").write_text("no picture")
    with pytest.raises(BadImage):
        read_steering(parser.parse_args(given), extensions)
