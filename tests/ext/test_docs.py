"""docs/extensions.md says what is so: every hook with its exact signature, and every example is run."""

from __future__ import annotations

import ast
import inspect
import re
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.ext.studio import Studio
from tests.support import tiny_config, write_tiny_checkpoint
from webui.ext import hooks, specs
from webui.ext.app import App
from webui.ext.check import check_extension
from webui.ext.command import _ACTIONS
from webui.ext.contexts import JobContext, ModelEvent, PictureContext
from webui.ext.files import ModelFiles
from webui.ext.hooks import HOOKS, Hook
from webui.ext.manifest import Head, Manifest
from webui.ext.maps import PreprocessContext
from webui.ext.params import Param
from webui.ext.passes import PassContext
from webui.ext.steps import DecodeContext, StepContext, UnetContext
from webui.schema.control import ControlUnit
from webui.schema.events import Done
from webui.schema.images import ImageRef
from webui.schema.requests import Txt2Img

TEXT = (Path(__file__).parents[2] / "docs" / "extensions.md").read_text(encoding="utf-8")
CONTEXTS = {
    App: "app", ModelEvent: "ev", JobContext: "job", PassContext: "p", StepContext: "s", UnetContext: "c",
    DecodeContext: "p", PictureContext: "img", PreprocessContext: "ctx", ModelFiles: "models",
}  # fmt: skip


def section(heading: str) -> str:
    """What stands below a heading, up to the next one of the same level."""
    level = heading.split(" ")[0]
    return TEXT.split(f"\n{heading}\n", 1)[1].split(f"\n{level} ", 1)[0].split("\n## ", 1)[0]


def example(hook: Hook) -> str:
    return re.findall(r"```python\n(.*?)```", section(f"### `{hook.signature}`"), re.DOTALL)[0]


def public_names(kind: type) -> set[str]:
    """Methods, properties and attributes that `__init__` sets."""
    named = {name for name in vars(kind) if not name.startswith("_")} | set(inspect.get_annotations(kind))
    attributes = [node for node in ast.walk(ast.parse(inspect.getsource(kind))) if isinstance(node, ast.Attribute)]
    own = [node for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "self"]
    stored = {node.attr for node in own if isinstance(node.ctx, ast.Store)}
    return {name for name in named | stored if not name.startswith("_")}


def test_every_hook_has_a_page_with_its_exact_signature_and_no_other_has():
    found = re.findall(r"^### `(.*)`$", section("## Hooks"), re.MULTILINE)
    assert found == [hook.signature for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_a_page_says_whether_an_error_fails_the_job(hook: Hook):
    assert ("Observer." in section(f"### `{hook.signature}`")) == hook.observer


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_every_example_of_a_hook_runs(studio: Studio, other_model: str, hook: Hook):
    both = "open_pass" if hook.name != "open_pass" else ""
    main = example(hook) + ("\n\ndef open_pass(p):\n    yield\n" if both else "")
    studio.add("example", main, f"{hook.name} {both}")
    assert isinstance(studio.run(request()), Done)
    if hook.name == "model_changed":
        assert isinstance(studio.run(request(model=other_model)), Done)
    studio.off("example")
    times = studio.engine.extensions.host.times()["example"]
    assert hook.name in times
    assert [note for note in studio.notes if "failed" in note] == []
    assert studio.restarts == []


@pytest.fixture
def other_model(tiny_models: Path) -> str:
    write_tiny_checkpoint(tiny_models / "Stable-diffusion" / "other.safetensors", seed=2)
    return "other"


def request(**fields: Any) -> Txt2Img:
    given = {"model": "tiny", "prompt": "a red ball", "seed": 5, "subseed": 0, "width": 64, "height": 48, "steps": 2}
    return Txt2Img(**{**given, **fields})


@pytest.mark.parametrize("kind", CONTEXTS, ids=lambda kind: kind.__name__)
def test_everything_that_a_context_offers_is_described(kind: type):
    table = TEXT.split(f"| `{kind.__name__}` | |\n", 1)[1].split("\n\n", 1)[0]
    described = set(re.findall(rf"`{CONTEXTS[kind]}\.(\w+)", table))
    assert described == public_names(kind)


def test_every_key_of_the_manifest_is_described():
    tables = section("## The manifest")
    words = set(re.findall(r"`(?:\[+)?(\w+)(?:\]+)?`", tables))
    kinds = (Head, specs.Dependencies, specs.Order, specs.Permissions, specs.ModelFile, specs.PreprocessorSpec)
    kinds += (specs.AdapterSpec, specs.AccordionSpec, specs.RouteSpec, Param)
    keys = {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}
    top = {field.alias or name for name, field in Manifest.model_fields.items() if name not in Head.model_fields}
    assert (keys | top) - words == set()


def test_every_command_is_described():
    assert re.findall(r"launch\.py ext (\w+)", section("## The command line")) == [
        "list", "check", "install", "enable", "disable", "remove", "fetch", "sync",
    ]  # fmt: skip
    assert set(re.findall(r"launch\.py ext (\w+)", TEXT)) == set(_ACTIONS)


def tutorial() -> dict[str, str]:
    """The files that the tutorial writes. What is named "further" is added to the file."""
    files: dict[str, str] = {}
    for name, further, text in re.findall(
        r"^`([\w.]+)`(, further)?:\n\n```\w+\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE
    ):
        files[name] = f"{files[name]}\n{text}" if further else text
    return files


@pytest.fixture
def poster(studio: Studio) -> Studio:
    """A studio with the tutorial's extension."""
    folder = studio.folder / "poster"
    folder.mkdir()
    for name, text in tutorial().items():
        (folder / name).write_text(text, encoding="utf-8")
    studio.state.enable("poster", allow=True)
    studio.engine.refresh()
    return studio


def test_the_tutorials_extension_passes_its_check(poster: Studio):
    assert check_extension(poster.folder / "poster") == ()


def test_the_tutorials_preprocessor_makes_posters(poster: Studio):
    spec, function = poster.engine.extensions.host.preprocessor("poster")
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    made = function(ramp, levels=4)
    assert [param.default for param in spec.params] == [4]
    assert made.dtype == np.uint8
    assert sorted(set(made.ravel().tolist())) == [0, 85, 170, 255]


def test_the_tutorials_tests_pass(poster: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = section("## Testing an extension").split("```python\n", 1)[1].split("```", 1)[0]
    (tmp_path / "test_poster.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    tests = {name: thing for name, thing in run_path("test_poster.py").items() if name.startswith("test_")}
    assert len(tests) == 2
    for test in tests.values():
        test()


def test_the_tutorials_adapter_changes_the_picture_and_weight_0_does_not(poster: Studio, tiny_models: Path):
    channels = tiny_config("sd1").unet.model_channels
    file = tiny_models / "ControlNet" / "tint.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_file({"tint.weight": torch.randn(channels, 3, generator=torch.Generator().manual_seed(0))}, file)
    buffer = BytesIO()
    Image.new("RGB", (64, 48), "orange").save(buffer, "PNG")
    images = {sha256(buffer.getvalue()).hexdigest(): buffer.getvalue()}
    unit = ControlUnit(
        image=ImageRef(sha256=next(iter(images))), preprocessor="poster", model="tint", params={"levels": 3}
    )

    def draw(*units: ControlUnit) -> bytes:
        assert isinstance(poster.run(request(control=units), images), Done)
        return poster.blobs[0]

    plain = draw()
    assert draw(unit) != plain
    assert draw(unit.model_copy(update={"weight": 0.0})) == plain


def test_the_table_of_hooks_is_in_the_order_of_a_job():
    assert [hook.name for hook in hooks.HOOKS][:5] == ["setup", "teardown", "model_changed", "prepare_job", "open_pass"]
