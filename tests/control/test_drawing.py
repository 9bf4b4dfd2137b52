"""Control units in an engine, from the request to the pixels, with the bundled extension."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.control.small import write
from tests.extensions.support import ROOT
from tests.nn.weights import randomise
from tests.support import write_tiny_checkpoint
from webui.control.adapters import Match
from webui.control.shelf import Loaded, Shelf
from webui.engine.devices import place
from webui.engine.engine import Engine
from webui.engine.extensions import Folders
from webui.engine.preprocessors import Kept
from webui.ext.state import ExtState
from webui.nn.config import ModelConfig
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.schema.control import ControlUnit
from webui.schema.events import Done, Event, Failed, ImageReady, MapReady, Note, UnitReport
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

PLAIN = {"model": "tiny", "prompt": "a red ball", "seed": 5, "subseed": 0, "width": 72, "height": 48, "steps": 3}


def png(width: int, height: int, seed: int = 0) -> bytes:
    """A picture of random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()


def ref(data: bytes) -> ImageRef:
    return ImageRef(sha256=hashlib.sha256(data).hexdigest())


PICTURE = png(50, 90)
IMAGES = {ref(PICTURE).sha256: PICTURE}


class Drawing:
    """Runs requests; remembers the events of the last one."""

    def __init__(self, home: Path) -> None:
        models, data = home / "models", home / "data"
        config = write_tiny_checkpoint(models / "Stable-diffusion" / "tiny.safetensors")
        write_tiny_checkpoint(models / "Stable-diffusion" / "other.safetensors", seed=1)
        wide = write_tiny_checkpoint(models / "Stable-diffusion" / "wide.safetensors", "sdxl")
        self.add_net(models / "ControlNet" / "wide_edges.safetensors", wide)
        self.add_net(models / "ControlNet" / "edges.safetensors", config)
        self.add_net(models / "ControlNet" / "edges_inpaint.safetensors", config)
        data.mkdir()
        ExtState(data).enable("controlnet", allow=True)
        self.engine = Engine(models, place("cpu"), folders=Folders((ROOT,), data))
        self.events: list[Event] = []

    def add_net(self, path: Path, config: ModelConfig) -> None:
        net = randomise(ControlNet(ControlNetConfig(config.unet, hint_widths=(4, 8, 12, 20))), seed=1)
        write(path, net.state_dict(), config.unet, config.family)

    def run(self, request: Request, images: dict[str, bytes] | None = None) -> list[bytes]:
        self.events, blobs = [], []

        def emit(event: Event, blob: bytes | None) -> None:
            self.events.append(event)
            if isinstance(event, ImageReady) and blob is not None:
                blobs.append(blob)

        self.engine.run("job", request, images or IMAGES, emit)
        assert isinstance(self.events[-1], Done), self.events[-1]
        return blobs

    def draw(self, *units: dict[str, Any], **fields: Any) -> list[bytes]:
        control = tuple(ControlUnit(**{"image": ref(PICTURE), "model": "edges", **unit}) for unit in units)
        return self.run(Txt2Img(**{**PLAIN, **fields}, control=control))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    torch.set_num_threads(1)
    return Drawing(tmp_path_factory.mktemp("drawing"))


@pytest.fixture(scope="module")
def plain(drawing: Drawing) -> bytes:
    return drawing.draw()[0]


def test_a_unit_changes_the_picture_and_reports_what_it_did(drawing, plain):
    assert drawing.draw({}) != [plain]
    (report,) = drawing.of(UnitReport)
    assert (report.unit, report.steps) == (1, (0, 1, 2))
    assert all(ratio > 0.01 for ratio in report.ratios)
    (shown,) = drawing.of(MapReady)
    assert (shown.width, shown.height) == (50, 90)


def test_the_picture_after_it_is_as_before(drawing, plain):
    assert drawing.draw() == [plain]


def test_weight_zero_is_the_plain_picture_bit_for_bit(drawing, plain):
    assert drawing.draw({"weight": 0.0}) == [plain]


def test_a_window_behind_the_steps_is_the_plain_picture(drawing, plain):
    assert drawing.draw({"start": 0.9, "end": 1.0}) == [plain]
    assert drawing.draw({"start": 0.0, "end": 0.0}) != [plain]
    assert drawing.of(UnitReport)[0].steps == (0,)


def test_a_unit_in_a_batch_is_as_alone(drawing):
    together = drawing.draw({}, batch_size=2)
    alone = [drawing.draw({})[0], drawing.draw({}, seed=6)[0]]
    for one, other in zip(together, alone, strict=True):
        difference = np.abs(np.frombuffer(one, np.uint8).astype(int) - np.frombuffer(other, np.uint8))
        assert (difference <= 1).mean() > 0.999


def test_a_unit_is_fitted_to_the_checkpoint_of_each_pass(drawing):
    fields = {"enable_hr": True, "hr_upscaler": "Lanczos", "hr_model": "other", "n_iter": 2}
    plain = drawing.draw(**fields)
    low = drawing.draw({"hr_option": "Low res only"}, **fields)
    high = drawing.draw({"hr_option": "High res only"}, **fields)
    assert [report.part for report in drawing.of(UnitReport)] == [1]
    both = drawing.draw({}, **fields)
    assert [report.part for report in drawing.of(UnitReport)] == [0, 1]
    assert len({*plain, *low, *high, *both}) == 8


def test_a_unit_of_the_hires_pass_alone_may_fit_its_checkpoint_alone(drawing):
    fields = {"enable_hr": True, "hr_upscaler": "Lanczos", "hr_model": "wide"}
    plain = drawing.draw(**fields)
    assert drawing.draw({"model": "wide_edges", "hr_option": "High res only"}, **fields) != plain
    assert drawing.of(UnitReport)[0].part == 1


def test_a_unit_acts_until_a_refiner_takes_over(drawing):
    fields = {"refiner": "other", "refiner_switch_at": 0.5, "steps": 4}
    plain = drawing.draw(**fields)
    assert drawing.draw({}, **fields) != plain
    assert drawing.of(UnitReport)[0].steps == (0, 1)
    assert [note.message for note in drawing.of(Note) if "refiner takes over" in note.message]


def test_each_pass_of_hires_has_its_own_units(drawing):
    plain = drawing.draw(enable_hr=True)
    low = drawing.draw({"hr_option": "Low res only"}, enable_hr=True)
    assert {report.part for report in drawing.of(UnitReport)} == {0}
    high = drawing.draw({"hr_option": "High res only"}, enable_hr=True)
    assert {report.part for report in drawing.of(UnitReport)} == {1}
    assert len({*plain, *low, *high, *drawing.draw({}, enable_hr=True)}) == 4


@pytest.mark.parametrize("resize_mode", ["Just Resize", "Crop and Resize", "Resize and Fill"])
def test_odd_sizes_are_drawn(drawing, resize_mode):
    assert len(drawing.draw({"resize_mode": resize_mode}, width=51, height=67)[0]) == 51 * 67 * 3


def test_the_tabs_picture_steers_where_the_unit_has_none(drawing):
    fields = {**PLAIN, "init_image": ref(PICTURE)}
    plain = drawing.run(Img2Img(**fields))
    assert drawing.run(Img2Img(**fields, control=(ControlUnit(model="edges"),))) != plain


def test_an_inpaint_net_sees_the_tabs_mask_in_the_part_that_is_drawn(drawing):
    mask = Image.new("L", (50, 90))
    mask.paste(255, (10, 20, 30, 50))
    data = io.BytesIO()
    mask.save(data, "PNG")
    images = {**IMAGES, ref(data.getvalue()).sha256: data.getvalue()}
    fields = {**PLAIN, "init_image": ref(PICTURE), "mask": ref(data.getvalue()), "inpaint_area": "Only masked"}
    plain = drawing.run(Inpaint(**fields), images)
    drawn = drawing.run(Inpaint(**fields, control=(ControlUnit(model="edges_inpaint"),)), images)
    assert drawn != plain
    assert drawn != drawing.run(Inpaint(**fields, control=(ControlUnit(model="edges"),)), images)


@pytest.mark.parametrize("preprocessor", ["reference_only", "tile_colorfix"])
def test_units_without_a_model_draw_by_hooks(drawing, plain, preprocessor):
    unit = {"preprocessor": preprocessor, "model": ""}
    assert drawing.draw(unit) != [plain]
    (report,) = drawing.of(UnitReport)
    assert (report.label, report.steps, report.note) == (preprocessor, (0, 1, 2), "")
    assert all(0.001 < ratio < 10 for ratio in report.ratios)
    assert drawing.draw({**unit, "weight": 0.0}) == [plain]
    assert [report.note for report in drawing.of(UnitReport)] == ["it did not act in any step."]
    assert drawing.draw() == [plain]


@pytest.mark.parametrize(
    "unit", [{}, {"preprocessor": "reference_only", "model": ""}, {"preprocessor": "tile_colorfix", "model": ""}]
)
def test_a_region_mask_bounds_a_unit_and_a_white_one_is_none(drawing, plain, unit):
    whole = drawing.draw(unit)
    masks = {}
    for name, box in (("white", (0, 0, 72, 48)), ("black", (0, 0, 0, 0)), ("left", (0, 0, 36, 48))):
        mask, data = Image.new("L", (72, 48)), io.BytesIO()
        mask.paste(255, box)
        mask.save(data, "PNG")
        masks[name] = data.getvalue()

    def drawn(name: str) -> list[bytes]:
        chosen = {"image": ref(PICTURE), "model": "edges", **unit, "region_mask": ref(masks[name])}
        request = Txt2Img(**PLAIN, control=(ControlUnit(**chosen),))
        return drawing.run(request, {**IMAGES, ref(masks[name]).sha256: masks[name]})

    assert drawn("white") == whole
    assert drawn("left") not in (whole, [plain])
    difference = np.abs(np.frombuffer(drawn("black")[0], np.uint8).astype(int) - np.frombuffer(plain, np.uint8))
    assert difference.max() <= 1
    assert drawing.of(UnitReport)[0].note == "it had no effect: what it added was as good as zero."


def test_reference_and_a_net_work_together(drawing):
    units = ({"preprocessor": "reference_only", "model": ""}, {})
    assert len({*drawing.draw(*units), *drawing.draw(units[0]), *drawing.draw(units[1])}) == 3


def test_an_ip_adapter_reads_what_clip_sees(drawing, plain):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from tests.nn.weights import draw, drawn

    models = drawing.engine.models.catalogue.models_dir
    config = CLIPVisionConfig(
        hidden_size=20, intermediate_size=40, projection_dim=12, num_hidden_layers=3, num_attention_heads=2,
        image_size=32, patch_size=16,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(models / "ControlNetPreprocessor" / "clip_vision_h")
    executor = drawing.engine.models.executor("tiny")
    names = [name for name in executor.base.attentions if name.endswith("attn2")]
    context = executor.config.unet.context_dim
    shapes: dict[str, tuple[int, ...]] = {
        "image_proj.proj.weight": (2 * context, 12), "image_proj.proj.bias": (2 * context,),
        "image_proj.norm.weight": (context,), "image_proj.norm.bias": (context,),
    }  # fmt: skip
    for j in range(len(names)):
        shapes |= {f"ip_adapter.{2 * j + 1}.{part}.weight": (32, context) for part in ("to_k_ip", "to_v_ip")}
    tensors = {name: drawn(name, draw(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())}
    write(models / "ControlNet" / "ip.safetensors", tensors)
    unit = {"preprocessor": "ip_adapter_clip_h", "model": "ip"}
    whole = drawing.draw(unit)
    assert whole != [plain]
    (strong,) = drawing.of(UnitReport)
    assert (strong.steps, strong.note) == ((0, 1, 2), "")
    assert all(ratio > 0.01 for ratio in strong.ratios)
    assert drawing.draw({**unit, "weight": 0.5}) not in (whole, [plain])
    assert drawing.draw() == [plain]


def test_networks_of_preprocessors_rest_after_the_maps_and_all_once_after_the_last_picture(drawing, monkeypatch):
    kinds: list[str] = []
    for owner in (Shelf, Kept):
        rest = owner.rest
        monkeypatch.setattr(owner, "rest", lambda one, rest=rest: (kinds.append(drawing.events[-1].type), rest(one))[1])
    drawing.draw({}, n_iter=2)
    assert kinds == ["map", "unit", "unit"]  # the reports stand behind the pictures
    drawing.draw()
    assert kinds == ["map", "unit", "unit"]


class Net(torch.nn.Module):
    """Remembers where it was moved."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []

    def to(self, device: Any) -> Any:
        self.moves.append(str(device))
        return self


def test_what_rests_goes_to_the_cpu_and_stays_loaded(drawing):
    net, other = Net(), Net()
    shelf, kept = Shelf(torch.device("meta")), Kept()
    loaded = Loaded(SimpleNamespace(modules=lambda: (net,)), Match("x"))
    shelf._loaded[Path("x"), 0, 0] = loaded
    assert kept.get("depth", "net", lambda: other) is other
    assert kept.get("depth", "table", lambda: {"a": 1}) == {"a": 1}
    shelf.rest()
    kept.rest()
    assert (net.moves, other.moves) == (["cpu"], ["cpu"])
    assert kept.get("depth", "net", Net) is other


def test_a_network_is_called_once_for_the_pictures_of_a_batch(drawing, monkeypatch):
    rows: list[int] = []
    residuals = ControlNet.residuals
    monkeypatch.setattr(
        ControlNet, "residuals", lambda net, x, *given: (rows.append(len(x)), residuals(net, x, *given))[1]
    )
    drawing.draw({}, batch_size=3)
    assert rows == [6, 6, 6]
    rows.clear()
    drawing.draw({"mode": "ControlNet is more important"}, batch_size=2, steps=1)
    assert rows == [2]


def test_a_file_that_does_not_fit_fails_the_job_by_name(drawing):
    models = drawing.engine.models.catalogue.models_dir
    write(models / "ControlNet" / "cut.safetensors", {"input_hint_block.0.weight": torch.ones(4, 3, 3, 3)})
    events: list[Event] = []
    request = Txt2Img(**PLAIN, control=(ControlUnit(model="cut", image=ref(PICTURE)),))
    drawing.engine.run("job", request, IMAGES, lambda event, blob: events.append(event))
    assert isinstance(events[-1], Failed)
    assert "not whole" in events[-1].error["message"]
