"""A unit that cannot act refuses the job, naming unit, field and cure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.control.small import write
from tests.nn.small import UNETS
from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.control.validate import Known, KnownPreprocessor, check_units
from webui.nn.config import SD15, SDXL, ModelConfig
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.schema.control import ControlUnit
from webui.schema.errors import BadRequest, NotFound
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Txt2Img

REF = ImageRef(sha256="a" * 64)
BASE = ModelConfig("sd1", UNETS["sd1"], SD15.vae, SD15.texts)


def no_parameters(given: dict[str, object]) -> dict[str, object]:
    if given:
        raise BadRequest(f"there is no parameter {next(iter(given))!r}.")
    return {}


def nothing_is_there(params: Mapping[str, object]) -> None:
    raise NotFound("Depth needs net.bin.", "Put it there.")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    models = tmp_path_factory.mktemp("models")
    folder = models / "ControlNet"
    for name, family in (("canny", "sd1"), ("xl", "sdxl"), ("control_inpaint", "sd1")):
        net = ControlNet(ControlNetConfig(UNETS[family], hint_widths=(4, 8, 12, 20)))
        write(folder / f"{name}.safetensors", net.state_dict(), UNETS[family], family)
    write(folder / "own.safetensors", {"mine": torch.ones(1)})
    (folder / "broken.safetensors").write_bytes(b"\x00" * 40)
    preprocessors = {"canny": KnownPreprocessor("Canny", "edges", check=no_parameters),
                     "depth": KnownPreprocessor("Depth", "depth", require=nothing_is_there),
                     "openpose_json": KnownPreprocessor("Pose", "pose", picture=False),
                     "reference_only": KnownPreprocessor("Reference", "image", alone=True)}  # fmt: skip
    return Known(ControlCatalogue(models), preprocessors)


def request(hires: bool = False, **unit: object) -> Txt2Img:
    return Txt2Img(enable_hr=hires, control=(ControlUnit(**{"model": "canny", "image": REF, **unit}),))


def test_a_unit_that_can_act_passes(known):
    assert check_units(request(preprocessor="canny"), BASE, known) == ()


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"image": None}, "image: there is none"),
        ({"model": ""}, "model: none is chosen"),
        ({"model": "cany"}, "There is no control model 'cany'"),
        ({"model": "xl"}, "xl is for SDXL, the loaded model is SD 1.x"),
        ({"model": "broken"}, "model: broken.safetensors"),
        ({"model": "own"}, "no control model that is known"),
        ({"preprocessor": "cunny"}, "preprocessor: there is no 'cunny'"),
        ({"preprocessor": "canny", "params": {"lo": 1}}, "no parameter 'lo'"),
        ({"preprocessor": "depth"}, "preprocessor: Depth needs net.bin. Put it there."),
        ({"params": {"low": 1}}, "none has no parameter 'low'"),
        ({"hr_option": "High res only"}, "hires-fix option"),
        ({"start": 0.91, "end": 0.93}, "window: none of 20 steps lies between 0.91 and 0.93"),
        ({"model": "control_inpaint"}, "mask: an inpaint model needs one"),
        ({"layer_weights": (1.0, 2.0)}, "the model has 13 residuals"),
    ],
)
def test_a_unit_that_cannot_act_names_what_is_wrong(known, unit, words):
    with pytest.raises(BadRequest) as raised:
        check_units(request(**unit), BASE, known)
    assert "Control unit 1, " in str(raised.value)
    assert words in str(raised.value)


def test_a_missing_model_names_what_is_near(known):
    with pytest.raises(BadRequest, match="use one of: canny"):
        check_units(request(model="cany"), BASE, known)


def test_the_number_of_the_unit_is_as_the_user_counts(known):
    units = (ControlUnit(model="canny", image=REF), ControlUnit(model="", image=REF))
    with pytest.raises(BadRequest, match="Control unit 2"):
        check_units(Txt2Img(control=units), BASE, known)


def test_a_unit_that_is_off_is_not_looked_at(known):
    assert check_units(request(enabled=False, model="nothing"), BASE, known) == ()


def test_the_hires_checkpoint_is_checked_too(known):
    with pytest.raises(BadRequest, match=r"is for SD 1\.x, the loaded model is SDXL"):
        check_units(request(hires=True), BASE, known, hires=SDXL)
    assert check_units(request(hires=True, hr_option="Low res only"), BASE, known, hires=SDXL) == ()


def test_a_window_counts_the_steps_of_the_passes_that_the_unit_acts_in(known):
    unit = {"start": 0.85, "end": 0.9}
    with pytest.raises(BadRequest, match="none of 5 steps"):
        check_units(request(**unit).model_copy(update={"steps": 5, "enable_hr": False}), BASE, known)
    low = request(hires=True, hr_option="High res only", **unit).model_copy(update={"steps": 5, "hr_steps": 40})
    assert check_units(low, BASE, known) == ()
    few = Img2Img(init_image=REF, steps=20, denoising_strength=0.1, control=(ControlUnit(model="canny", **unit),))
    with pytest.raises(BadRequest, match=r"none of 3 steps lies between 0\.85 and 0\.9"):
        check_units(few, BASE, known)
    with pytest.raises(BadRequest, match="denoising strength: at 0 nothing is drawn"):
        check_units(few.model_copy(update={"denoising_strength": 0.0}), BASE, known)
    edges = request(start=0.0, end=0.0), request(start=0.95, end=1.0)
    assert [check_units(edge, BASE, known) for edge in edges] == [(), ()]


def test_the_tabs_own_picture_is_enough(known):
    unit = ControlUnit(model="canny")
    assert check_units(Img2Img(init_image=REF, control=(unit,)), BASE, known) == ()


def test_what_looks_at_no_picture_needs_none(known):
    assert check_units(request(preprocessor="openpose_json", image=None), BASE, known) == ()
    with pytest.raises(BadRequest, match="image: there is none"):
        check_units(request(preprocessor="canny", image=None), BASE, known)


def test_weight_zero_runs_with_a_warning(known):
    assert check_units(request(weight=0.0), BASE, known) == ("Control unit 1 has weight 0: it changes nothing.",)


def test_a_preprocessor_that_acts_alone_needs_no_model(known):
    assert check_units(request(preprocessor="reference_only", model=""), BASE, known) == ()


def test_a_file_that_another_extension_reads_passes(known):
    other = Known(known.catalogue, known.preprocessors, other_adapters=True)
    assert check_units(request(model="own"), BASE, other) == ()


def test_another_architecture_of_the_same_family_is_refused(known):
    with pytest.raises(BadRequest, match="text of 24 channels, the loaded one has text of 768"):
        check_units(request(), SD15, known)


def test_no_torch_is_needed_to_check(tmp_path: Path):
    import subprocess
    import sys

    program = "import sys; sys.modules['torch'] = None; import webui.control.validate, webui.ext.api"
    subprocess.run([sys.executable, "-c", program], check=True)
