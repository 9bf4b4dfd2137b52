"""Whatever an extension does, the next plain picture is byte-identical to the one made before."""

from __future__ import annotations

import hashlib
import io
import random
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.ext.studio import PLAIN, Studio
from webui.ext.hooks import HOOKS, Hook
from webui.schema.control import ControlUnit
from webui.schema.events import Done, Event, Failed
from webui.schema.images import ImageRef
from webui.schema.requests import Txt2Img

BROKEN = "raise ValueError('no luck')"
CALLED = [hook for hook in HOOKS if hook.name not in ("teardown", "model_changed")]


@pytest.fixture(autouse=True)
def _the_process_is_left_as_it_was() -> Iterator[None]:
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.nn.Linear.forward, list(sys.path)
    yield
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.nn.Linear.forward, list(sys.path)) == before


def survives(studio: Studio, id: str, before: list[bytes]) -> None:
    """The extension is switched off, and everything is as it was."""
    studio.off(id)
    assert studio.draw() == before
    assert studio.times == {}


@pytest.mark.parametrize("hook", CALLED, ids=lambda hook: hook.name)
def test_an_extension_that_raises_in_a_hook_fails_the_job_by_name_or_is_only_noted(
    studio: Studio, hook: object
) -> None:
    plain = studio.draw()
    name, observer = hook.name, hook.observer  # type: ignore[attr-defined]
    extra = "\n    yield" if name == "open_pass" else ""
    studio.add("broken", f"def {hook.signature}:\n    {BROKEN}{extra}", name)  # type: ignore[attr-defined]
    if observer:
        assert studio.draw() == plain
        said = studio.notes
    else:
        said = [studio.failure()]
    assert any('"broken"' in text and name in text and "no luck" in text and "main.py:2" in text for text in said)
    survives(studio, "broken", plain)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit", "SystemExit", "BaseException"])
@pytest.mark.parametrize("hook", CALLED, ids=lambda hook: hook.name)
def test_no_error_of_an_extension_ends_the_engine(studio: Studio, hook: Hook, error: str) -> None:
    plain = studio.draw(steps=1)
    extra = "\n    yield" if hook.name == "open_pass" else ""
    studio.add("wild", f"def {hook.signature}:\n    raise {error}('no luck'){extra}", hook.name)
    told = f'"wild" failed in {hook.name}: {error}'
    said = [studio.failure(steps=1)] if not hook.observer else studio.draw(steps=1) and studio.notes
    assert any(told in text for text in said)
    studio.off("wild")
    assert studio.draw(steps=1) == plain


@pytest.mark.parametrize(
    ("code", "hook", "where"),
    [
        ("raise KeyboardInterrupt('no luck')\ndef on_image(img): pass", "on_image", "cannot be loaded"),
        ("def open_pass(p):\n    yield\n    raise KeyboardInterrupt('no luck')", "open_pass", "open_pass"),
        ("def open_pass(p):\n    p.defer(raises)\n    yield", "open_pass", "open_pass"),
        ("def open_pass(p):\n    p.add_control(raises)\n    yield", "open_pass", "add_control"),
        ("def open_pass(p):\n    p.tap_block('input_blocks.0.0', raises)\n    yield", "open_pass", "tap_block"),
    ],
)
def test_no_error_outside_of_hooks_ends_the_engine(studio: Studio, code: str, hook: str, where: str) -> None:
    plain = studio.draw(steps=1)
    studio.add("wild", f"def raises(*given):\n    raise KeyboardInterrupt('no luck')\n\n{code}", hook)
    said = studio.failure(steps=1)
    assert '"wild"' in said
    assert where in said
    assert "KeyboardInterrupt: no luck" in said
    studio.off("wild")
    assert studio.draw(steps=1) == plain


def test_an_extension_that_raises_when_the_model_changes_or_when_it_ends_is_only_noted(studio: Studio) -> None:
    plain = studio.draw()
    code = f"def model_changed(ev):\n    {BROKEN}\n\ndef teardown(app):\n    {BROKEN}\n\ndef on_image(img):\n    pass"
    studio.add("broken", code, "model_changed teardown on_image")
    assert studio.draw() == plain
    studio.engine.models.unload()
    assert studio.draw() == plain
    assert any('"broken" failed in model_changed: ValueError: no luck (main.py:2)' in note for note in studio.notes)
    studio.off("broken")
    assert any("teardown" in note for note in studio.engine.extensions.host.take_notes())
    survives(studio, "broken", plain)


def test_a_failure_unwinds_every_pass_in_reverse_order(studio: Studio) -> None:
    plain = studio.draw()
    code = """
    log = []
    def open_pass(p):
        log.append(f"open {p.index}")
        p.defer(lambda: log.append(f"deferred {p.index}"))
        yield
        log.append(f"close {p.index}")

    def job_done(job, error): log.append(type(error).__name__)
    """
    studio.add("tidy", code, "open_pass job_done")
    studio.add("wild", f"def after_unet(c):\n    if c.step == 1 and c.p.index == 1: {BROKEN}", "after_unet")
    assert '"wild"' in studio.failure(batch_size=2)
    assert studio.service("tidy", "log") == [
        "open 0", "open 1", "close 1", "deferred 1", "close 0", "deferred 0", "ExtensionError",
    ]  # fmt: skip
    studio.off("wild")
    survives(studio, "tidy", plain)


def test_one_failing_clean_up_does_not_stop_the_others_and_fails_the_job(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("one", "log = []\ndef open_pass(p):\n    yield\n    log.append('one')", "open_pass")
    studio.add("two", f"def open_pass(p):\n    p.defer(lambda: 1 / 0)\n    yield\n    {BROKEN}", "open_pass")
    studio.add("zed", "log = []\ndef open_pass(p):\n    yield\n    log.append('zed')", "open_pass")
    message = studio.failure()
    assert '"two" failed in open_pass: ValueError' in message
    assert any("ZeroDivisionError" in note for note in studio.notes)
    assert studio.service("one", "log") == ["one"]
    assert studio.service("zed", "log") == ["zed"]
    studio.off("one", "zed")
    survives(studio, "two", plain)


def test_an_observer_that_fails_three_times_in_a_row_is_no_longer_called(studio: Studio) -> None:
    plain = studio.draw(steps=6)
    studio.add("sore", f"calls = []\ndef after_step(s):\n    calls.append(s.step)\n    {BROKEN}", "after_step")
    assert studio.draw(steps=6) == plain
    assert studio.service("sore", "calls") == [0, 1, 2]
    assert any("no longer called" in note for note in studio.notes)
    studio.off("sore")
    assert studio.draw(steps=6) == plain


PATCHES = {
    "a leaked forward": "unet(p).out[2].forward = lambda x: x * 0",
    "a leaked hook": "unet(p).register_forward_hook(lambda module, given, output: output * 0)",
    "a weight written in place": "unet(p).out[2].weight.mul_(0)",
    "a weight written through .data": "unet(p).time_embed[0].weight.data.add_(1)",
    "a replaced layer": "unet(p).out[1] = torch.nn.Identity()",
    "a replaced parameter": "unet(p).out[2].bias = torch.nn.Parameter(torch.ones(4))",
}
PATCHER = """
import torch

def unet(p):
    return p._scope.tools.unet

def open_pass(p):
    yield
    {patch}
"""


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
def test_a_patched_model_is_dropped_and_the_extension_named_and_stopped(studio: Studio, patch: str) -> None:
    plain = studio.draw()
    studio.add("patcher", PATCHER.format(patch=patch), "open_pass")
    studio.draw()
    assert any("left behind" in note and '"patcher"' in note for note in studio.notes)
    assert not studio.engine.models.holds("tiny")
    assert studio.restarts == []
    assert "left something behind" in studio.failure()
    survives(studio, "patcher", plain)


CHANGES = {
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "number of threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "Linear.forward": "torch.nn.Linear.forward = lambda self, x: x",
    "torch.cat": "torch.cat = lambda parts, dim=0: parts[0]",
    "torch.nn.functional.silu": "torch.nn.functional.silu = lambda x: x",
    "UNet.forward": "sys.modules['webui.nn.unet'].UNet.forward = lambda self, x, *rest: x",
    "sys.path": "sys.path.insert(0, '/nowhere')",
    "gradient mode": "torch.set_grad_enabled(False)",
}
PLACES = ("prepare_job(job)", "on_image(img)", "job_done(job, error)")
"""Before, within and after the drawing."""
FORGOTTEN = ("gradient mode", "on_image(img)")
"""Drawing happens in torch's inference mode, whose end takes the gradient mode set within along."""
LASTING = [(what, place) for what in CHANGES for place in PLACES if (what, place) != FORGOTTEN]


@pytest.mark.parametrize(("what", "place"), LASTING)
def test_a_change_of_the_process_is_put_back_named_and_followed_by_a_restart(
    studio: Studio, what: str, place: str
) -> None:
    plain = studio.draw()
    hook = place.partition("(")[0]
    studio.add("changer", f"import sys\nimport torch\n\ndef {place}:\n    {CHANGES[what]}", hook)
    studio.run_any()
    (reason,) = studio.restarts
    assert what in reason
    assert '"changer"' in reason
    survives(studio, "changer", plain)


def test_a_gradient_mode_set_while_drawing_ends_with_the_drawing(studio: Studio) -> None:
    plain = studio.draw()
    what, place = FORGOTTEN
    studio.add("changer", f"import torch\n\ndef {place}:\n    {CHANGES[what]}", "on_image")
    assert studio.draw() == plain
    assert torch.is_grad_enabled()
    assert studio.restarts == []
    survives(studio, "changer", plain)


def test_a_patch_of_torch_that_fails_its_own_job_is_put_back_too(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("changer", "import torch\n\ndef before_step(s):\n    torch.nn.functional.silu = None", "before_step")
    studio.failure()
    (reason,) = studio.restarts
    assert '"changer"' in reason
    survives(studio, "changer", plain)


MAPPER = """
import torch

def negative(image):
    {change}
    return 255 - image
"""
NEGATIVE = '[[preprocessor]]\nid = "negative"\nentry = "main:negative"\nresolution = false'


@pytest.mark.parametrize("change", ["pass", "torch.set_grad_enabled(True)"])
def test_a_map_made_in_the_middle_of_a_plain_job_leaves_nothing_behind(studio: Studio, change: str) -> None:
    plain, answers = studio.draw(), []
    studio.add("mapper", MAPPER.format(change=change), tables=NEGATIVE)
    studio.on_progress = lambda: answers.append(studio.ask("negative"))
    assert studio.draw() == plain
    assert [[answer.error for answer in each] for each in answers] == [[None]] * 3
    assert torch.is_grad_enabled()
    assert (studio.restarts, studio.notes) == ([], [])
    studio.on_progress = lambda: None
    survives(studio, "mapper", plain)


def test_what_a_map_leaves_behind_is_not_laid_at_the_door_of_the_job_it_was_made_in(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("mapper", MAPPER.format(change="torch.set_default_dtype(torch.float16)"), tables=NEGATIVE)
    studio.add("innocent", "def on_image(img):\n    pass", "on_image")
    studio.on_progress = lambda: studio.ask("negative")
    studio.run_any(steps=1)
    studio.on_progress = lambda: None
    (reason,) = studio.restarts
    assert reason == 'torch\'s default dtype was changed, by the extension "mapper"'
    assert states(studio) == {"innocent": "active", "mapper": "failed"}
    studio.off("innocent")
    survives(studio, "mapper", plain)


def states(studio: Studio) -> dict[str, str]:
    return {report.id: report.state for report in studio.engine.extensions.host.report()}


CULPRITS = {
    "a model": PATCHER.format(patch=PATCHES["a leaked forward"]),
    "a setting": "import torch\n\ndef after_step(s):\n    if s.step == 1: torch.set_default_dtype(torch.float64)",
    "a function": "import torch\n\ndef before_unet(c):\n    torch.nn.functional.silu = lambda x, inplace=False: x * 2",
}


@pytest.mark.parametrize("code", CULPRITS.values(), ids=CULPRITS.keys())
def test_of_several_extensions_the_one_that_left_something_behind_is_named_and_stopped(
    studio: Studio, code: str
) -> None:
    plain = studio.draw()
    hook = next(name for name in ("open_pass", "after_step", "before_unet") if f"def {name}" in code)
    for id in ("ada", "zed"):
        studio.add(
            id, f"def {hook}({code.split(f'{hook}(')[1][0]}):\n    {'yield' if hook == 'open_pass' else 'pass'}", hook
        )
    studio.add("culprit", code, hook)
    studio.run_any()
    (note,) = [note for note in studio.notes if "left behind" in note]
    assert 'by the extension "culprit".' in note
    assert "ada" not in note
    assert states(studio) == {"ada": "active", "culprit": "failed", "zed": "active"}
    studio.off("ada", "zed")
    survives(studio, "culprit", plain)


def test_what_a_module_does_when_it_is_imported_is_laid_at_its_own_door(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("ada", "def prepare_job(job):\n    pass", "prepare_job")
    studio.add(
        "zed", "import torch\ntorch.set_default_dtype(torch.float64)\n\ndef on_image(img):\n    pass", "on_image"
    )
    studio.run_any()
    assert studio.restarts == ['torch\'s default dtype was changed, by the extension "zed"']
    assert states(studio) == {"ada": "active", "zed": "failed"}
    studio.off("ada")
    survives(studio, "zed", plain)


TYPES = "import torch\n\ndef on_image(img):\n    {line}"


def leave_and_restart(studio: Studio) -> None:
    """An extension changes the default dtype, and the engine's process ends for it."""
    studio.add("types", TYPES.format(line=CHANGES["default dtype"]), "on_image")
    studio.run_any()
    assert len(studio.restarts) == 1
    studio.restart()


def test_what_an_extension_left_behind_is_held_against_it_after_the_restart_too(studio: Studio) -> None:
    plain = studio.draw()
    leave_and_restart(studio)
    (report,) = studio.engine.extensions.host.report()
    assert (report.state, report.reason) == ("failed", "left something behind: torch's default dtype was changed")
    for _ in range(2):
        assert "torch's default dtype was changed" in studio.failure()
        assert studio.notes == []
        studio.restart()
    assert len(studio.restarts) == 1
    survives(studio, "types", plain)
    studio.restart()
    assert states(studio) == {"types": "disabled"}


AMENDS = {
    "reloaded": lambda studio: studio.engine.refresh(["types"]),
    "edited": lambda studio: (studio.folder / "types" / "main.py").write_text(TYPES.format(line="pass")),
    "set otherwise": lambda studio: studio.state.set_settings("types", {"depth": 2}),
    "off and on": lambda studio: (studio.off("types"), studio.state.enable("types"), studio.engine.refresh()),
}


@pytest.mark.parametrize("amend", AMENDS.values(), ids=AMENDS.keys())
def test_it_is_forgotten_when_the_extension_is_reloaded_or_another(studio: Studio, amend: Callable[[Studio], object]):
    leave_and_restart(studio)
    amend(studio)
    studio.restart()
    assert states(studio) == {"types": "ready"}


def test_what_could_not_be_laid_at_one_door_is_watched_closely_after_the_restart_too(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("ada", TYPES.format(line="pass"), "on_image")
    patch = "if img.index == 1: torch.nn.functional.silu = lambda x, inplace=False: x"
    studio.add("late", TYPES.format(line=patch), "on_image")
    studio.draw(n_iter=2)
    assert '"ada" or "late"' in studio.restarts[0]
    studio.restart()
    assert states(studio) == {"ada": "ready", "late": "ready"}
    studio.draw(n_iter=2)
    assert states(studio) == {"ada": "active", "late": "failed"}
    studio.off("ada")
    survives(studio, "late", plain)


@pytest.mark.parametrize("change", [CHANGES["default dtype"], CHANGES["torch.nn.functional.silu"]])
def test_what_is_left_behind_between_the_jobs_is_put_back_too(studio: Studio, change: str) -> None:
    plain = studio.draw()
    studio.add(
        "last", f"import torch\n\ndef on_image(img):\n    pass\n\ndef teardown(app):\n    {change}", "on_image teardown"
    )
    assert studio.draw() == plain
    studio.off("last")
    (reason,) = studio.restarts
    assert 'by the extension "last"' in reason
    assert studio.draw() == plain
    assert states(studio) == {"last": "disabled"}


def test_what_cannot_be_laid_at_one_door_is_watched_closely_in_the_next_job(studio: Studio) -> None:
    plain = studio.draw()
    late = "def after_unet(c):\n    if c.step == 1: c.p._scope.tools.unet.out[2].weight.data.add_(1)"
    studio.add("late", late, "after_unet")
    studio.add("innocent", "def after_unet(c):\n    pass", "after_unet")
    studio.draw()
    assert any('by the extension "innocent" or "late".' in note for note in studio.notes)
    assert states(studio) == {"innocent": "active", "late": "active"}
    studio.draw()
    assert any('by the extension "late".' in note for note in studio.notes)
    assert states(studio) == {"innocent": "active", "late": "failed"}
    studio.off("innocent")
    survives(studio, "late", plain)


def test_a_patch_of_a_late_call_is_not_laid_at_the_door_of_who_is_called_next(studio: Studio) -> None:
    plain = studio.draw()
    late = "def after_unet(c):\n    if c.step == 1: c.p._scope.tools.unet.out[2].forward = lambda x: x"
    studio.add("late", late, "after_unet")
    studio.add("innocent", "def after_sampling(p): pass", "after_sampling")
    studio.run_any()
    assert any('by the extension "innocent" or "late".' in note for note in studio.notes)
    assert states(studio) == {"innocent": "active", "late": "active"}
    studio.run_any()
    assert states(studio) == {"innocent": "active", "late": "failed"}
    studio.off("innocent")
    survives(studio, "late", plain)


def test_a_patch_that_breaks_its_own_job_is_named_in_its_error(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("ada", "def after_cfg(s):\n    pass", "after_cfg")
    studio.add("changer", "import torch\n\ndef before_step(s):\n    torch.nn.functional.silu = None", "before_step")
    last = studio.run_any()
    assert isinstance(last, Failed)
    assert last.error["code"] == "extension"
    assert 'silu was replaced, by the extension "changer"): TypeError' in last.error["message"]
    assert "report" not in last.error["cure"]
    studio.off("ada")
    survives(studio, "changer", plain)


def test_what_the_unet_cannot_take_is_laid_at_the_door_of_who_added_it(studio: Studio) -> None:
    plain = studio.draw()
    code = """
    import torch
    from webui.ext import Residuals

    def open_pass(p):
        p.add_control(lambda c: Residuals(hidden={0: torch.zeros(1, 7, 1, 1)}))
        yield
    """
    studio.add("odd", code, "open_pass")
    studio.add("ada", "def after_cfg(s):\n    pass", "after_cfg")
    message = studio.failure()
    assert message.startswith('The U-Net failed with what was added to it by the extension "odd": RuntimeError')
    studio.off("ada")
    survives(studio, "odd", plain)


ADAPTER = """
import torch
from webui.ext import ControlAdapter, Match, Residuals

class Bad(ControlAdapter):
    @classmethod
    def probe(cls, header): return Match("Bad") if "bad.weight" in header.tensors else None

    @classmethod
    def load(cls, weights, match, base, device):
        {load}
        return cls()

    def residuals(self, call, prepared):
        {residuals}
"""
BAD = '[[control_adapter]]\nid = "bad"\nentry = "main:Bad"'
FAULTS = {
    "load": ({"load": BROKEN}, '"bad" failed in control adapter bad: ValueError: no luck (main.py:11)'),
    "residuals": ({"residuals": BROKEN}, '"bad" failed in control adapter bad: ValueError: no luck (main.py:15)'),
    "answer": ({"residuals": "return 1"}, "residuals returned int in the place of Residuals"),
    "shape": (
        {"residuals": "return Residuals(hidden={0: torch.zeros(1, 7, 1, 1)})"},
        "The U-Net failed with what was added to it by control unit 1 (bad): RuntimeError",
    ),
    "dtype": ({"load": "torch.set_default_dtype(torch.float64)", "residuals": BROKEN}, '"bad" failed'),
}


@pytest.mark.parametrize(("parts", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_a_control_adapter_that_fails_is_named(studio: Studio, parts: dict[str, str], told: str) -> None:
    plain = studio.draw()
    code = ADAPTER.format(**{"load": "pass", "residuals": "return Residuals()", **parts})
    studio.add("bad", code, tables=BAD)
    last = controlled(studio, "bad")
    assert isinstance(last, Failed)
    assert told in last.error["message"]
    assert len(studio.restarts) == ("float64" in code)
    survives(studio, "bad", plain)


def controlled(studio: Studio, name: str) -> Event:
    """The last event of a job with a unit of a control file that has one weight, of this name."""
    folder = studio.engine.models.catalogue.models_dir / "ControlNet"
    folder.mkdir(exist_ok=True)
    save_file({f"{name}.weight": torch.ones(1)}, folder / f"{name}.safetensors")
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "PNG")
    ref = ImageRef(sha256=hashlib.sha256(picture.getvalue()).hexdigest())
    request = Txt2Img(**PLAIN, control=(ControlUnit(model=name, image=ref),))
    return studio.run(request, {ref.sha256: picture.getvalue()})


LIGHT = """
import torch
from webui.ext import ControlAdapter, Match, Residuals

class Light(ControlAdapter):
    \"\"\"One number for the whole of the first hidden state.\"\"\"

    def __init__(self, channels):
        self.channels = channels
        self.net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Identity())
        torch.nn.init.ones_(self.net[0].weight)

    @classmethod
    def probe(cls, header): return Match("Light") if "light.weight" in header.tensors else None

    @classmethod
    def load(cls, weights, match, base, device): return cls(base.config.model_channels)

    def residuals(self, call, prepared):
        self.net.used = True  # what an adapter keeps is no leak
        light = self.net(torch.ones(1)).expand(1, self.channels, *call.x.shape[2:])
        return Residuals(hidden={0: light})

    def modules(self): return (self.net,)
"""
NETWORK_PATCHER = """
import gc
import torch

def after_step(s):
    gc.collect()  # those of other tests go, and who stays stands in the order of age
    net = [one for one in gc.get_objects() if type(one).__name__ == "Light"][-1].net
    {patch}
"""
NETWORK_PATCHES = {
    "a leaked forward": "net.forward = lambda x: x * 9",
    "a leaked hook": "net[1].register_forward_hook(lambda module, given, output: output * 9)",
    "a replaced layer": "net[1] = torch.nn.ReLU()",
}


@pytest.mark.parametrize("patch", NETWORK_PATCHES.values(), ids=NETWORK_PATCHES.keys())
def test_a_patched_control_network_is_dropped_and_the_extension_named_and_stopped(studio: Studio, patch: str) -> None:
    plain = studio.draw()
    studio.add("light", LIGHT, tables='[[control_adapter]]\nid = "light"\nentry = "main:Light"')
    assert isinstance(controlled(studio, "light"), Done)
    assert studio.notes == []
    lit = studio.blobs
    assert lit != plain
    assert isinstance(controlled(studio, "light"), Done)
    assert (studio.blobs, studio.notes) == (lit, [])
    studio.add("patcher", NETWORK_PATCHER.format(patch=patch), "after_step")
    assert isinstance(controlled(studio, "light"), Done)
    (note,) = studio.notes
    assert "of a control network was" in note
    assert note.endswith('by the extension "patcher".')
    assert states(studio) == {"light": "active", "patcher": "failed"}
    assert studio.engine.models.holds("tiny")
    assert studio.restarts == []
    assert studio.engine.extensions.shelf.changes() == []
    studio.off("patcher")
    assert isinstance(controlled(studio, "light"), Done)
    assert (studio.blobs, studio.notes) == (lit, [])
    survives(studio, "light", plain)


def test_a_weight_of_a_control_network_that_is_written_in_place_does_not_reach_the_next_job(studio: Studio) -> None:
    studio.add("light", LIGHT, tables='[[control_adapter]]\nid = "light"\nentry = "main:Light"')
    controlled(studio, "light")
    lit = studio.blobs
    once = "if not hits: hits.append(net[0].weight.mul_(9))"
    studio.add("patcher", f"hits = []\n{NETWORK_PATCHER.format(patch=once)}", "after_step")
    assert isinstance(controlled(studio, "light"), Done)
    (note,) = studio.notes
    assert note.endswith('0.weight of a control network was changed, by the extension "light" or "patcher".')
    assert studio.blobs != lit
    assert isinstance(controlled(studio, "light"), Done)
    assert (studio.blobs, studio.notes) == (lit, [])


def test_global_random_states_are_put_back_and_never_mattered(studio: Studio) -> None:
    plain = studio.draw()
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    code = """
    import random, numpy, torch

    def before_unet(c):
        random.seed(1); numpy.random.seed(1); torch.manual_seed(1); torch.rand(3)
    """
    studio.add("dice", code, "before_unet")
    assert studio.draw() == plain
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]
    assert studio.restarts == []
    survives(studio, "dice", plain)


def test_a_syntax_error_names_file_and_line_and_the_others_run_on(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("bad", "x = 1\ndef before_step(s) return", "before_step")
    message = studio.failure()
    assert '"bad"' in message
    assert "main.py:2" in message
    survives(studio, "bad", plain)


def test_an_extension_that_wants_another_numpy_is_blocked_and_meets_no_job(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("old", BROKEN, "before_step", tables='[dependencies]\npackages = ["numpy<2"]')
    assert studio.draw() == plain
    (report,) = studio.engine.extensions.host.report()
    assert report.state == "blocked"
    assert "numpy<2" in report.reason


def test_two_extensions_may_have_a_module_of_the_same_name(studio: Studio) -> None:
    plain = studio.draw()
    main = "from . import helpers\nseen = []\ndef before_step(s): seen.append(helpers.WHO)"
    for id in ("ada", "bob"):
        studio.add(id, main, "before_step", files={"helpers.py": f"WHO = '{id}'"})
    studio.draw(steps=1)
    assert [studio.service(id, "seen") for id in ("ada", "bob")] == [["ada"], ["bob"]]
    studio.off("ada")
    survives(studio, "bob", plain)


def test_an_edited_extension_is_read_anew_when_it_is_reloaded(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("edited", "def after_cfg(s): return s.denoised * 0.1", "after_cfg")
    first = studio.draw()
    studio.add("edited", "def after_cfg(s): return s.denoised * 0.9", "after_cfg")
    assert studio.draw() not in (first, plain)
    studio.add("edited", "def after_cfg(s): return s.denoised * 0.1", "after_cfg")
    assert studio.draw() == first
    survives(studio, "edited", plain)


def test_answers_of_the_wrong_shape_are_named(studio: Studio) -> None:
    plain = studio.draw()
    studio.add("thin", "def after_cfg(s): return s.denoised[:2]", "after_cfg")
    assert '"thin" failed in after_cfg: ValueError' in studio.failure()
    survives(studio, "thin", plain)


def test_a_job_that_is_stopped_closes_its_scopes_too(studio: Studio) -> None:
    plain = studio.draw()
    code = """
    log = []
    def open_pass(p):
        yield
        log.append(p.job.stopped)
    def job_done(job, error): log.append(error)
    """
    studio.add("stopped", code, "open_pass job_done")
    studio.engine.prepare("job")
    studio.engine.cancel("job", "skip")
    last = studio.run_any(n_iter=1)
    assert isinstance(last, Done)
    assert studio.service("stopped", "log")[-1] is None
    survives(studio, "stopped", plain)
