"""The Python API with control units and extensions: what the page shows of them comes back here too."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.control.small import randomise, write
from tests.ext.folders import write_extension
from tests.support import write_tiny_checkpoint
from webui import ControlUnit, Pipeline, Txt2Img
from webui.ext.discover import HOME
from webui.ext.state import ExtState
from webui.nn.controlnet import ControlNet, ControlNetConfig

SIZE = {"width": 64, "height": 64, "steps": 2, "seed": 1}
RENAMING = """
def prepare_job(job):
    job.update(prompt="a blue ball")
"""


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root = tmp_path_factory.mktemp("api")
    config = write_tiny_checkpoint(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    net = randomise(ControlNet(ControlNetConfig(config.unet, hint_widths=(4, 8, 12, 20))), seed=1)
    write(root / "models" / "ControlNet" / "edges.safetensors", net.state_dict(), config.unet, config.family)
    write_extension(root / "extensions", "renaming", RENAMING, head='hooks = ["prepare_job"]')
    (root / "data").mkdir()
    state = ExtState(root / "data")
    state.enable("renaming", allow=True)
    folders = (HOME, root / "extensions")
    return Pipeline.load(models_dir=root / "models", device="cpu", extensions_dirs=folders, data_dir=root / "data")


def test_a_unit_gives_its_map_and_tells_what_it_did(pipe: Pipeline) -> None:
    square = np.zeros((64, 64, 3), np.uint8)
    square[16:48, 16:48] = 255
    picture = pipe.add_image(Image.fromarray(square))
    unit = ControlUnit(image=picture, preprocessor="invert", model="edges", resolution=64)
    made = pipe.generate(Txt2Img(prompt="a red ball", control=(unit,), **SIZE))
    assert np.array_equal(np.asarray(made.maps[1]), 255 - square)
    assert [(report.unit, report.steps) for report in made.reports] == [(1, (0, 1))]


def test_the_text_of_a_picture_tells_the_request_as_an_extension_changed_it(pipe: Pipeline) -> None:
    (image,) = pipe.generate(Txt2Img(prompt="a red ball", **SIZE)).images
    assert image.infotext.splitlines()[0] == "a blue ball"
