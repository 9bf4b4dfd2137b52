"""What an extension writes into what it received reaches nobody: no other picture, no other extension, no later job."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.ext.studio import PLAIN, Studio
from webui.schema.control import ControlUnit
from webui.schema.events import Done
from webui.schema.images import ImageRef
from webui.schema.requests import Inpaint, Txt2Img

GREY = """
import numpy as np
import torch
from webui.ext import ControlAdapter, Map, Match, Residuals

kept = np.full((1, 1, 3), 7, np.uint8)
seen = []

def grey(image, *, ctx):
    kept.resize(image.shape, refcheck=False)
    kept[:] = 150
    {make}
    return Map(kept, {{"joints": [5], "vector": np.ones(2)}})

class Lamp(ControlAdapter):
    \"\"\"The mean of the map and of its data, on the whole of the first hidden state.\"\"\"

    def __init__(self, channels): self.channels = channels

    @classmethod
    def probe(cls, header): return Match("Lamp") if "lit.weight" in header.tensors else None

    @classmethod
    def load(cls, weights, match, base, device): return cls(base.config.model_channels)

    def prepare(self, hint):
        light = float(hint.source.mean()) / 255 + sum(hint.data["joints"]) + float(hint.data["vector"].sum())
        light += float(hint.image.mean())
        {prepare}
        return [torch.tensor(light)]

    def residuals(self, call, prepared):
        hidden = {{0: prepared[0].clone().expand(1, self.channels, *call.x.shape[2:])}}
        {residuals}
        return Residuals(hidden=hidden)
"""
TABLES = """
[[control_adapter]]
id = "lit"
entry = "main:Lamp"

[[preprocessor]]
id = "grey"
entry = "main:grey"
resolution = false
"""
HINT_WRITES = {
    "source": {"prepare": "hint.source[...] = 0"},
    "data": {"prepare": "hint.data['joints'].append(9); hint.data['vector'][:] = 4"},
    "image": {"prepare": "hint.image.zero_()"},
    "prepared": {"residuals": "prepared[0].add_(1); prepared.clear()"},
    "call": {"residuals": "call.x.zero_(); call.context.zero_(); call.timesteps.zero_()"},
    "what the map was made in": {"make": "kept[:] = 150; seen.append(kept)", "residuals": "kept[:] = 0"},
}


def png(image: Image.Image) -> tuple[ImageRef, dict[str, bytes]]:
    data = io.BytesIO()
    image.save(data, "PNG")
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    return ImageRef(sha256=sha256), {sha256: data.getvalue()}


def lit(
    studio: Studio,
    preprocessor: str = "grey",
    more: dict[str, bytes] | None = None,
    region_mask: ImageRef | None = None,
    **fields: Any,
) -> list[bytes]:
    """The pictures of a job with a unit of the file that `Lamp` knows. more: pictures beside the unit's own."""
    folder = studio.engine.models.catalogue.models_dir / "ControlNet"
    folder.mkdir(exist_ok=True)
    save_file({"lit.weight": torch.ones(1)}, folder / "lit.safetensors")
    ref, images = png(Image.new("RGB", (64, 48)))
    unit = ControlUnit(model="lit", image=ref, preprocessor=preprocessor, region_mask=region_mask)
    last = studio.run(Txt2Img(**{**PLAIN, "control": (unit,), **fields}), images | (more or {}))
    assert isinstance(last, Done), last
    return studio.blobs


@pytest.mark.parametrize("parts", HINT_WRITES.values(), ids=HINT_WRITES.keys())
def test_a_map_is_the_same_for_every_picture_and_job_whatever_its_readers_write(
    studio: Studio, parts: dict[str, str]
) -> None:
    def code(**parts: str) -> str:
        return GREY.format(**{"make": "pass", "prepare": "pass", "residuals": "pass", **parts})

    studio.add("light", code(), tables=TABLES)
    plain, other = lit(studio, batch_size=2, n_iter=2), lit(studio, seed=8)
    assert plain[0] != studio.draw()[0]
    studio.add("light", code(**parts), tables=TABLES)
    assert lit(studio, batch_size=2, n_iter=2) == plain
    assert lit(studio, batch_size=2, n_iter=2) == plain
    assert lit(studio, seed=8) == other
    assert studio.notes == []
    studio.off("light")


def test_the_mask_of_a_preprocessor_is_its_own(studio: Studio) -> None:
    code = """
    import numpy as np

    seen = []

    def inner(image, *, ctx):
        seen.append(int(ctx.mask.sum()))
        ctx.mask[:] = 7
        return image

    def outer(image, *, ctx):
        ctx.mask[:] = 3
        ctx.preprocess("inner", image)
        return image

    def open_pass(p):
        for unit in p.units:
            seen.append(float(unit.hint.mask.sum()))
        yield
    """
    tables = "".join(f'[[preprocessor]]\nid = "{id}"\nentry = "main:{id}"\nalone = true\n' for id in ("inner", "outer"))
    studio.add("masks", code, "open_pass", tables=tables)
    picture, images = png(Image.new("RGB", (64, 48)))
    white = np.zeros((48, 64), np.uint8)
    white[:, :32] = 255
    mask, more = png(Image.fromarray(white))
    units = tuple(ControlUnit(preprocessor=id, resolution=64) for id in ("outer", "inner"))
    request = Inpaint(
        **{**PLAIN, "init_image": picture, "mask": mask, "control": units, "inpaint_area": "Whole picture"}
    )
    assert isinstance(studio.run(request, images | more), Done)
    masks = studio.service("masks", "seen")
    assert masks[0] == masks[1]
    assert masks[2] == masks[3] == 48 * 32
    studio.off("masks")


WATCHER = """
import torch
from webui.ext import Residuals

log = []

def noted(*tensors):
    log.append([None if x is None else round(float(x.double().abs().sum()), 9) for x in tensors])

def open_pass(p):
    noted(p.noise, p.latent, p.guidance.uncond.context, *[cond.context for cond, _ in p.guidance.conds])
    channels = p.config.unet.model_channels

    def lift(c):
        noted(c.x, c.context, c.timesteps, c.rows.x, c.rows.context)
        return Residuals(hidden={{0: torch.full((len(c.x), channels, *c.x.shape[2:]), 0.1)}})

    p.add_control(lift)
    if {taps}:
        name, attention = "input_blocks.3.1", "input_blocks.3.1.transformer_blocks.0.attn2"
        p.tap_block(name, lambda h: (noted(h, p.call.x, p.call.context), h)[1])
        p.tap_linear(f"{{attention}}.to_k", lambda x: (noted(x, p.call.x), 0 * x)[1])
        p.tap_linear(f"{{attention}}.to_out.0", lambda x: (noted(x), 0 * x)[1])
    yield

def before_step(s): noted(s.x, s.guidance.uncond.context, *[cond.context for cond, _ in s.guidance.conds])
def before_unet(c): noted(c.x, c.context, c.timesteps, c.rows.x, c.rows.context, c.total.hidden[0])
def after_unet(c): noted(c.x, c.context, c.timesteps, c.rows.x, c.total.hidden[0], c.output)
def combine(s): noted(s.x, s.uncond, s.guidance.uncond.context, *s.conds)
def after_cfg(s): noted(s.x, s.denoised, s.guidance.uncond.context)
def after_step(s): noted(s.x, s.denoised, s.guidance.uncond.context)
def after_sampling(p): noted(p.latent, p.noise)
def after_decode(p): noted(p.image)
def on_image(img): log.append(img.image.tobytes())
"""
WATCHED = (
    "open_pass before_step before_unet after_unet combine after_cfg after_step after_sampling after_decode on_image"
)
CONDS = ".guidance.uncond.context.zero_(); {0}.guidance.conds[0][0].context.zero_()"
ROWS = (
    "c.x.zero_(); c.context.zero_(); c.timesteps.zero_(); c.rows.x.zero_(); c.rows.context.zero_(); "
    "c.total.hidden[0].zero_(); c.total.hidden.clear()"
)
ATTENTION = "input_blocks.3.1.transformer_blocks.0.attn2"
WRITES = {
    "open_pass": f"def open_pass(p):\n    p.noise.zero_(); p{CONDS.format('p')}\n    yield",
    "encode": "def open_pass(p):\n    for cond in p.encode(p.job.request.prompt): cond.context.zero_()\n    yield",
    "before_step": f"def before_step(s): s.x.zero_(); s{CONDS.format('s')}; s.p{CONDS.format('s.p')}",
    "before_unet": f"def before_unet(c): {ROWS}",
    "after_unet": f"def after_unet(c): c.output.zero_(); {ROWS}",
    "combine": f"def combine(s): s.x.zero_(); s.conds[0].zero_(); s.uncond.zero_(); s{CONDS.format('s')}",
    "after_cfg": f"def after_cfg(s): s.denoised.zero_(); s.x.zero_(); s{CONDS.format('s')}",
    "after_step": f"def after_step(s): s.denoised.zero_(); s.x.zero_(); s{CONDS.format('s')}",
    "after_sampling": "def after_sampling(p): p.latent.zero_(); p.noise.zero_()",
    "after_decode": "def after_decode(p): p.image.zero_()",
    "on_image": "def on_image(img): img.image.paste((0, 0, 0), (0, 0, 20, 20))",
    "add_control": "def fn(c): c.x.zero_(); c.context.zero_(); c.rows.x.zero_(); c.rows.context.zero_()\n"
    "def open_pass(p):\n    p.add_control(fn)\n    yield",
    "add_kv": f"def fn(c): {ROWS}\ndef open_pass(p):\n    p.add_kv('{ATTENTION}', fn)\n    yield",
    "watched keys and values": "import torch\nfrom webui.ext import KeysValues\ndef fn(added, to): to.zero_()\n"
    "def open_pass(p):\n    keys = torch.zeros(1, 2, p.config.unet.widths[1])\n"
    f"    p.add_kv('{ATTENTION}', KeysValues(keys, keys, 1.0, fn))\n    yield",
    "tap_block": "def fn(h):\n    same = h.clone()\n    h.zero_()\n    return same\n"
    "def open_pass(p):\n    p.tap_block('input_blocks.3.1', fn)\n    yield",
    "tap_linear": "def fn(x): return x.zero_()\n"
    f"def open_pass(p):\n    p.tap_linear('{ATTENTION}.to_k', fn); p.tap_linear('{ATTENTION}.to_out.0', fn)\n    yield",
    "replace_attn": "def fn(attend, x, context):\n    same = attend(x, context)\n    x.zero_(); context.zero_()\n"
    "    return same\n"
    "def open_pass(p):\n    p.replace_attn([name for name in p.attentions], fn)\n    yield",
}


@pytest.mark.parametrize(("name", "code"), WRITES.items(), ids=WRITES.keys())
def test_writes_into_received_tensors_reach_nobody_else(studio: Studio, name: str, code: str) -> None:
    hook = name if name in WATCHED else "open_pass"
    untouched = studio.draw(batch_size=2)
    watcher = WATCHER.format(taps=hook == "open_pass" != name)
    studio.add("zed", watcher, WATCHED)
    plain = studio.draw(batch_size=2)
    seen = list(studio.service("zed", "log"))
    studio.service("zed", "log").clear()
    studio.add("ada", code, hook)
    assert studio.draw(batch_size=2) == plain
    assert studio.service("zed", "log") == seen
    assert (studio.restarts, studio.notes) == ([], [])
    studio.off("ada", "zed")
    assert studio.draw(batch_size=2) == untouched != plain


ASSIGNMENTS = {
    "s.x": "def before_step(s):\n    x = s.x\n    x.mul_(0.5)\n    s.x = x",
    "c.context": "def before_unet(c):\n    context = c.context\n    context[0] *= 0.5\n    c.context = context",
    "c.total": "def before_unet(c):\n    total = c.total\n    total.hidden[0].mul_(3)\n    c.total = total",
    "c.output": "def after_unet(c):\n    c.output.mul_(0.5)\n    return c.output",
    "p.noise": "def open_pass(p):\n    noise = p.noise\n    noise.mul_(0.5)\n    p.noise = noise\n    yield",
    "p.guidance": "def open_pass(p):\n    guidance = p.guidance\n    guidance.uncond.context.mul_(0.5)\n"
    "    p.guidance = guidance\n    yield",
}


@pytest.mark.parametrize("code", ASSIGNMENTS.values(), ids=ASSIGNMENTS.keys())
def test_what_was_written_into_counts_once_it_is_assigned_or_returned(studio: Studio, code: str) -> None:
    studio.add("zed", WATCHER.format(taps=False), WATCHED)
    plain = studio.draw(steps=1)
    studio.add("ada", code, code[4 : code.index("(")])
    assert studio.draw(steps=1) != plain
    studio.off("ada")
    assert studio.draw(steps=1) == plain
    studio.off("zed")


def test_what_is_written_after_an_assignment_changes_nothing(studio: Studio) -> None:
    code = """
    import torch
    from dataclasses import replace
    from webui.ext import Controls

    def open_pass(p):
        uncond = replace(p.guidance.uncond)
        p.guidance = replace(p.guidance, uncond=uncond)
        uncond.context.{write}
        yield

    def before_unet(c):
        light = torch.full((len(c.x), c.p.config.unet.model_channels, *c.x.shape[2:]), 0.1)
        c.total = Controls(hidden={{0: light}})
        light.{write}
    """
    studio.add("late", code.format(write="add_(0)"), "open_pass before_unet")
    plain = studio.draw()
    studio.add("late", code.format(write="zero_()"), "open_pass before_unet")
    assert studio.draw() == plain
    studio.off("late")


UNITS = """
import numpy as np
from webui.ext import Map

def spot(image): return Map(image + np.uint8(90), {{"joints": [5], "vector": np.ones(2)}})

def open_pass(p):
    for unit in p.units:
        assert p.units[0] is unit
        {write}
    yield
"""
UNIT_WRITES = {
    "image": "unit.hint.image.zero_()",
    "source": "unit.hint.source[:] = 0",
    "data": "unit.hint.data['joints'].clear(); unit.hint.data['vector'][:] = 0",
    "region": "unit.region.zero_()",
    "fitted": "unit.fitted.hint.image.zero_(); unit.fitted.hint.source[:] = 0; unit.fitted.region.zero_()",
}


@pytest.mark.parametrize("write", UNIT_WRITES.values(), ids=UNIT_WRITES.keys())
def test_what_an_extension_writes_into_its_units_reaches_no_network(studio: Studio, write: str) -> None:
    def pictures() -> list[bytes]:
        half = Image.new("L", (64, 48))
        half.paste(255, (0, 0, 32, 48))
        region, more = png(half)
        return lit(studio, "spot", more, region_mask=region)

    spot = '[[preprocessor]]\nid = "spot"\nentry = "main:spot"\nresolution = false'
    studio.add("light", GREY.format(make="pass", prepare="pass", residuals="pass"), tables=TABLES)
    studio.add("ada", UNITS.format(write="pass"), "open_pass", tables=spot)
    plain = pictures()
    studio.add("ada", UNITS.format(write=write), "open_pass", tables=spot)
    assert pictures() == plain
    assert pictures() == plain
    studio.off("ada", "light")


def test_the_pictures_of_a_request_cannot_be_exchanged(studio: Studio) -> None:
    studio.add("ada", "def prepare_job(job): job.images['a'] = b'b'", "prepare_job")
    assert "TypeError" in studio.failure()
    studio.off("ada")


def test_a_map_that_another_preprocessor_made_is_a_copy_of_what_that_one_keeps(studio: Studio) -> None:
    code = """
    import numpy as np

    kept = np.zeros((64, 64, 3), np.uint8)

    def inner(image): return kept[: image.shape[0], : image.shape[1]]

    def outer(image, *, ctx):
        found = ctx.preprocess("inner", image).image
        found[:] = 9
        return found
    """
    tables = "".join(
        f'[[preprocessor]]\nid = "{id}"\nentry = "main:{id}"\nresolution = false\n' for id in ("inner", "outer")
    )
    studio.add("maps", code, tables=tables)
    answers: list[Any] = []
    studio.on_progress = lambda: answers.append(studio.ask("outer"))
    studio.draw(steps=1)
    assert [[answer.error for answer in each] for each in answers] == [[None]] * len(answers) != []
    assert studio.service("maps", "kept").max() == 0
    studio.off("maps")
