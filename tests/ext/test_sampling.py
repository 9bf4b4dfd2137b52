"""The hooks inside a job: called in their order, with their powers, for the rows of their own picture alone."""

from __future__ import annotations

import hashlib
import io
import textwrap

import numpy as np
import pytest
from PIL import Image

from tests.ext.studio import PLAIN, Studio
from webui.schema.events import Done, ImageReady, Prepared
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint

LOG = """
    seen = []

    def say(what, context):
        seen.append(what)
"""
IN_ORDER = "prepare_job before_step before_unet after_unet after_cfg after_step after_sampling after_decode on_image"
RECORDER = (
    "seen = []\n"
    + "".join(f"def {name}(c):\n    seen.append('{name}')\n" for name in IN_ORDER.split())
    + "def open_pass(p):\n    seen.append('open_pass')\n    yield\n    seen.append('closed')\n"
    + "def job_done(job, error):\n    seen.append(f'job_done {error}')\n"
)
ALL = f"{IN_ORDER} open_pass job_done"


def array(pixels: bytes) -> np.ndarray:
    return np.frombuffer(pixels, np.uint8).astype(int)


def test_hooks_come_in_the_documented_order(studio: Studio) -> None:
    studio.add("recorder", RECORDER, ALL)
    studio.draw(steps=2)
    step = ["before_step", "before_unet", "after_unet", "after_cfg", "after_step"]
    assert studio.service("recorder", "seen") == [
        "prepare_job", "open_pass", *step, *step, "after_sampling", "closed", "after_decode", "on_image",
        "job_done None",
    ]  # fmt: skip


def png(mode: str, colour: object) -> tuple[ImageRef, bytes]:
    data = io.BytesIO()
    Image.new(mode, (64, 48), colour).save(data, "PNG")  # type: ignore[arg-type]
    return ImageRef(sha256=hashlib.sha256(data.getvalue()).hexdigest()), data.getvalue()


@pytest.mark.parametrize("kind", [Img2Img, Inpaint])
def test_pictures_that_are_drawn_again_pass_the_same_hooks(studio: Studio, kind: type[Img2Img]) -> None:
    (picture, data), (mask, mask_data) = png("RGB", "teal"), png("L", 255)
    images = {picture.sha256: data, mask.sha256: mask_data}
    masked = {"mask": mask, "inpaint_area": "Only masked"} if kind is Inpaint else {}
    request = kind(**{**PLAIN, "steps": 4}, init_image=picture, denoising_strength=0.5, batch_size=2, **masked)

    def drawn() -> list[bytes]:
        assert isinstance(studio.run(request, images), Done), studio.events[-1]
        return studio.blobs

    plain = drawn()
    look = "def open_pass(p):\n    seen.append((p.kind, p.index, p.steps, p.latent is not None))\n    yield\n"
    studio.add("recorder", RECORDER.replace("def open_pass(p):\n    seen.append('open_pass')\n    yield\n", look), ALL)
    assert drawn() == plain
    seen = studio.service("recorder", "seen")
    step = ["before_step"] * 2 + ["before_unet"] * 2 + ["after_unet"] * 2 + ["after_cfg"] * 2
    assert [one for one in seen if not isinstance(one, str)] == [(kind.__name__.lower(), i, 3, True) for i in (0, 1)]
    assert sorted(one for one in seen if one in step) == sorted(step * 3)
    assert seen[0] == "prepare_job"
    assert seen[-3:] == ["on_image", "on_image", "job_done None"]
    studio.off("recorder")
    studio.add("changer", "def after_cfg(s): return s.denoised * 0.5", "after_cfg")
    assert drawn() != plain
    studio.off("changer")
    assert drawn() == plain


def test_an_extension_that_only_looks_leaves_every_byte_alone(studio: Studio) -> None:
    plain = studio.draw(batch_size=2), studio.draw(enable_hr=True, hr_upscaler="Lanczos")
    studio.add("recorder", RECORDER, ALL)
    assert (studio.draw(batch_size=2), studio.draw(enable_hr=True, hr_upscaler="Lanczos")) == plain


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Heun", "DPM adaptive", "Euler CFG++"])
def test_steps_are_those_of_the_solver_for_every_kind_of_sampler(studio: Studio, sampler: str) -> None:
    plain = studio.draw(sampler=sampler)
    code = "seen = []\ndef before_step(s): seen.append(s.step)\ndef after_step(s): seen.append(-s.step)"
    studio.add("counter", code, "before_step after_step")
    assert studio.draw(sampler=sampler) == plain
    seen = studio.service("counter", "seen")
    steps = [abs(step) for step in seen[::2]]
    assert steps == sorted(set(steps))
    assert seen[1::2] == [-step for step in steps]


def test_a_hires_job_opens_a_scope_for_each_of_its_passes(studio: Studio) -> None:
    code = """
    seen = []
    def open_pass(p):
        seen.append((p.kind, p.part, p.index, p.width, p.height, p.shape, p.steps, len(p.sigmas)))
        yield
    """
    studio.add("passes", code, "open_pass")
    studio.draw(enable_hr=True, hr_scale=1.5, denoising_strength=0.5, steps=4)
    assert studio.service("passes", "seen") == [
        ("base", 0, 0, 64, 48, (4, 6, 8), 4, 5), ("hires", 1, 0, 96, 72, (4, 9, 12), 3, 4),
    ]  # fmt: skip


def test_every_picture_of_a_batch_has_scope_and_state_of_its_own(studio: Studio) -> None:
    code = """
    seen = []

    class Count:
        def __init__(self): self.calls = 0

    def open_pass(p):
        yield
        seen.append((p.index, p.state(Count).calls))

    def before_unet(c):
        assert tuple(c.x.shape) == (2, 4, 6, 8)
        assert c.is_cond == (True, False)
        c.state(Count).calls += 1
    """
    studio.add("rows", code, "open_pass before_unet")
    studio.draw(batch_size=2, n_iter=2)
    assert sorted(studio.service("rows", "seen")) == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_change_of_one_picture_leaves_the_others_of_its_batch_alone(studio: Studio) -> None:
    plain = studio.draw(batch_size=3)
    studio.add("middle", "def after_cfg(s): return s.denoised * 0 if s.p.index == 1 else None", "after_cfg")
    changed = studio.draw(batch_size=3)
    assert [one == other for one, other in zip(plain, changed, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        ("before_step", "def before_step(s): s.x = s.x * 0.5"),
        ("before_unet", "def before_unet(c): c.context = c.context * 0"),
        ("before_unet", "def before_unet(c): c.x = c.x.flip(-1)"),
        ("after_unet", "def after_unet(c): return c.output * 0.5"),
        ("combine", "def combine(s): return s.uncond + 2 * (s.conds[0] - s.uncond)"),
        ("after_cfg", "def after_cfg(s): return s.denoised.clamp(-0.1, 0.1)"),
        ("after_sampling", "def after_sampling(p): return p.latent.flip(-1)"),
        ("after_decode", "def after_decode(p): return 1 - p.image"),
        ("on_image", "def on_image(img): return img.image.transpose(0)"),
        ("prepare_job", "def prepare_job(job): job.update(cfg_scale=3)"),
        ("open_pass", "def open_pass(p):\n    p.noise = p.noise.flip(-1)\n    yield"),
        ("open_pass", "def open_pass(p):\n    p.patch_weights({'out.2.bias': p.noise.new_full((4,), 0.1)})\n    yield"),
        ("open_pass", "def open_pass(p):\n    p.tap_block('middle_block.0', lambda h: h * 0.5)\n    yield"),
        ("open_pass", "def open_pass(p):\n    p.tap_linear('middle_block.1.transformer_blocks.0.attn1.to_q', "
         "lambda x: x)\n    yield"),
        ("open_pass", "def open_pass(p):\n    p.replace_attn('middle_block.1.transformer_blocks.0.attn1', "
         "lambda attend, x, context: attend(x, x * 0))\n    yield"),
    ],
)  # fmt: skip
def test_each_hook_has_the_power_to_change_the_picture_and_nothing_stays(studio: Studio, hook: str, code: str) -> None:
    plain = studio.draw()
    studio.add("changer", code, hook)
    changed = studio.draw()
    assert changed != plain
    assert studio.draw() == changed
    studio.off("changer")
    assert studio.draw() == plain
    assert studio.restarts == []


def test_a_guidance_formula_that_says_the_same_changes_nothing_to_speak_of(studio: Studio) -> None:
    plain = studio.draw()
    code = "def combine(s): return s.uncond + s.guidance.cfg_scale * (s.conds[0] - s.uncond)"
    studio.add("same", code, "combine")
    assert np.abs(array(studio.draw()[0]) - array(plain[0])).max() <= 1


def test_residuals_of_several_extensions_are_summed(studio: Studio) -> None:
    code = """
    from webui.ext import Residuals

    def open_pass(p):
        def residuals(c):
            return Residuals(middle=c.x.new_full((1, 32, 3, 4), {share}))
        p.add_control(residuals)
        yield
    """
    studio.add("one", textwrap.dedent(code).format(share=0.75), "open_pass")
    alone = studio.draw(batch_size=2)
    studio.off("one")
    studio.add("third", textwrap.dedent(code).format(share=0.25), "open_pass")
    studio.add("half", textwrap.dedent(code).format(share=0.5), "open_pass")
    assert studio.draw(batch_size=2) == alone


def test_zero_residuals_leave_every_byte_alone(studio: Studio) -> None:
    plain = studio.draw(batch_size=2)
    code = """
    from webui.ext import Residuals

    def open_pass(p):
        p.add_control(lambda c: Residuals([c.x.new_zeros(2, 16, 6, 8), *[None] * 3], c.x.new_zeros(2, 32, 3, 4)))
        yield
    """
    studio.add("zero", code, "open_pass")
    assert studio.draw(batch_size=2) == plain


def test_what_is_exclusive_is_refused_to_the_second_by_both_names(studio: Studio) -> None:
    replace = (
        "def open_pass(p):\n    p.replace_attn(p.config.unet and ATTENTION, lambda attend, x, context: x)\n    yield"
    )
    attention = "ATTENTION = 'middle_block.1.transformer_blocks.0.attn1'\n"
    studio.add("one", attention + replace, "open_pass")
    studio.add("two", attention + replace, "open_pass")
    message = studio.failure()
    assert '"one"' in message
    assert '"two"' in message
    studio.off("one", "two")
    studio.add("red", "def combine(s): return s.uncond", "combine")
    studio.add("blue", "def combine(s): return s.uncond", "combine")
    message = studio.failure()
    assert '"red"' in message
    assert '"blue"' in message


def test_keys_and_values_of_weight_zero_change_nothing(studio: Studio) -> None:
    plain = studio.draw()
    code = """
    import torch
    from webui.ext import KeysValues

    weight = 0.0

    def open_pass(p):
        layer = "middle_block.1.transformer_blocks.0.attn2"
        p.add_kv(layer, KeysValues(torch.ones(1, 2, 32), torch.ones(1, 2, 32), weight))
        yield
    """
    studio.add("kv", code, "open_pass")
    assert studio.draw() == plain
    studio.add("kv", code.replace("0.0", "1.0"), "open_pass")
    assert studio.draw() != plain


def test_a_stop_by_an_extension_ends_the_sampling_of_its_picture(studio: Studio) -> None:
    studio.add("stop", "def after_step(s):\n    if s.step == 0: s.stop()", "after_step")
    pictures = studio.draw(steps=50, batch_size=2)
    assert len(pictures) == 2


@pytest.mark.parametrize("rank", ["float('nan')", "'first'"])
def test_a_rank_that_is_no_number_fails_the_job_by_name(studio: Studio, rank: str) -> None:
    studio.add("ranks", f"def on_image(img): img.rank = {rank}", "on_image")
    assert 'xtension "ranks" failed in on_image' in studio.failure()


def test_prepare_job_edits_the_request_and_the_result_says_so(studio: Studio) -> None:
    wanted = studio.draw(prompt="a blue cat", steps=2)
    studio.add("edit", "def prepare_job(job): job.update(prompt='a blue cat', steps=2)", "prepare_job")
    assert studio.draw() == wanted
    (prepared,) = studio.of(Prepared)
    assert (prepared.request["prompt"], prepared.request["steps"]) == ("a blue cat", 2)
    studio.add("edit", "def prepare_job(job): job.update(steps=0)", "prepare_job")
    assert 'Extension "edit": Sampling steps' in studio.failure()


def test_declared_fields_reach_the_hooks_and_a_job_without_them_does_not_meet_the_extension(studio: Studio) -> None:
    plain = studio.draw()
    code = "def after_cfg(s): return s.denoised * s.params['share']"
    tables = """
    [[accordion]]
    label = "Less"
    fields = [{id = "share", type = "float", min = 0, max = 1, default = 0.5}]
    """
    studio.add("less", code, "after_cfg", tables=tables)
    assert studio.draw() == plain
    half = studio.draw(ext={"less": {}})
    assert half != plain
    assert studio.draw(ext={"less": {"share": 0.5}}) == half
    assert studio.draw(ext={"less": {"share": 1.0}}) == plain
    assert '"shard"' in studio.failure(ext={"less": {"shard": 1.0}})
    studio.off("less")
    assert "does not run here" in studio.failure(ext={"less": {}})


def test_pictures_can_be_dropped_and_further_ones_added(studio: Studio) -> None:
    code = """
    def after_decode(p): p.add_image(1 - p.image)
    def on_image(img):
        img.infotext["Marked"] = img.index
        if img.index == 0 and "Made by" not in img.infotext: img.drop()
    """
    studio.add("extra", code, "after_decode on_image")
    pictures = studio.draw(batch_size=2)
    assert len(pictures) == 3
    assert [event.infotext.get("Made by") for event in studio.of(ImageReady)] == ["extra", None, "extra"]
    assert (array(pictures[1]) + array(pictures[2]) == 255).mean() > 0.99


def test_region_prompts_can_be_built_from_further_conds_and_the_guidance_formula(studio: Studio) -> None:
    code = """
    from dataclasses import replace

    def open_pass(p):
        cond, _ = p.encode("a blue cat")
        p.guidance = replace(p.guidance, conds=(*p.guidance.conds, (cond, 0.0)))
        yield

    def combine(s):
        left, right = (s.uncond + s.guidance.cfg_scale * (cond - s.uncond) for cond in s.conds)
        half = left.shape[-1] // 2
        left[..., half:] = right[..., half:]
        return left
    """
    plain = studio.draw()
    studio.add("regions", code, "open_pass combine")
    assert studio.draw() != plain


def test_the_model_can_be_asked_beside_the_sampler(studio: Studio) -> None:
    code = """
    import torch
    seen = []

    def open_pass(p):
        latent = p.encode_image(torch.zeros(3, p.height, p.width))
        image = p.decode(latent)
        cond, _ = p.encode("red")
        out = p.run_unet(latent[None], torch.tensor([10.0]), cond.context[None])
        seen.append((tuple(latent.shape), tuple(image.shape), tuple(out.shape)))
        yield
    """
    studio.add("ask", code, "open_pass")
    studio.draw()
    assert studio.service("ask", "seen") == [((4, 6, 8), (3, 48, 64), (1, 4, 6, 8))]


def test_a_job_tells_how_long_each_hook_took(studio: Studio) -> None:
    studio.add("slow", "import time\ndef before_step(s): time.sleep(0.01)", "before_step")
    studio.draw(steps=4)
    assert studio.times["slow"]["before_step"] >= 0.04
    studio.off("slow")
    studio.draw()
    assert studio.times == {}


def test_another_model_is_told_to_the_extensions_that_run(studio: Studio) -> None:
    studio.add("listener", "names = []\ndef model_changed(ev): names.append((ev.name, ev.family))\n"
               "def on_image(img): pass", "model_changed on_image")  # fmt: skip
    studio.engine.models.unload()
    studio.draw()
    assert studio.service("listener", "names") == [("tiny", "sd1")]
    studio.draw()
    assert studio.service("listener", "names") == [("tiny", "sd1")]
