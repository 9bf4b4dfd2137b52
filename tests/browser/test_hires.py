"""What a hires pass has for its own, in the page: drawn with, marked, remembered, and read from pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Server
from tests.browser.test_prompt import picture_with
from tests.browser.window import Window

pytestmark = pytest.mark.browser
OWN = {
    "hr_prompt": "a fine ball", "hr_negative_prompt": "dark", "hr_sampler_name": "Euler a",
    "hr_scheduler": "Exponential", "hr_cfg": 4.5,
}  # fmt: skip
NOTHING = dict.fromkeys(OWN, "") | {"hr_cfg": None}


def sent(server: Server) -> dict[str, object]:
    request = server.jobs()[0]["request"]
    return {name: request[name] for name in OWN}


def mark(window: Window) -> str:
    script = "(element) => getComputedStyle(element, '::after').content"
    return window.page.locator("#txt2img-hires-own > .label-wrap > span").first.evaluate(script)


def open_both(window: Window) -> None:
    window.page.click("#txt2img-hires > .label-wrap")
    window.page.click("#txt2img-hires-own > .label-wrap")


def choose(window: Window, field: str, name: str) -> None:
    window.page.click(f"#txt2img-{field} input")
    window.page.get_by_role("option", name=name, exact=True).click()


def test_the_hires_pass_has_what_is_typed_for_it(window: Window, server: Server) -> None:
    window.prompt("a ball")
    open_both(window)
    window.page.click("#txt2img-enable_hr input")
    window.generate()
    window.made(1)
    assert sent(server) == NOTHING
    assert mark(window) == "none"
    window.page.fill("#txt2img-hr_prompt textarea", "a fine ball")
    expect(window.page.locator("#txt2img-hr_prompt .a-tokens")).to_have_text(re.compile(r"^\d+/75$"))
    window.page.fill("#txt2img-hr_negative_prompt textarea", "dark")
    choose(window, "hr_sampler_name", "Euler a")
    choose(window, "hr_scheduler", "Exponential")
    window.number("hr_cfg", 4.5)
    window.generate()
    window.made(2)
    assert sent(server) == OWN
    expect(window.text).to_contain_text(
        "Hires sampler: Euler a, Hires schedule type: Exponential, Hires CFG Scale: 4.5"
    )
    expect(window.text).to_contain_text("Hires prompt: a fine ball, Hires negative prompt: dark")
    assert mark(window) == '"on"'
    window.reload()
    open_both(window)
    window.has(hr_sampler_name="Euler a", hr_scheduler="Exponential")
    assert mark(window) == '"on"'


def test_a_pictures_text_brings_them_and_another_takes_them_away(
    window: Window, server: Server, tmp_path: Path
) -> None:
    last = "Steps: 3, Sampler: Euler, CFG scale: 4, Seed: 1, RNG: CPU, Hires upscale: 1.5, Hires upscaler: Lanczos"
    own = "Hires sampler: Euler a, Hires schedule type: Exponential, Hires CFG Scale: 4.5"
    prompts = "Hires prompt: a fine ball, Hires negative prompt: dark"
    window.drop_on_prompt(picture_with(f"a ball\n{last}, {own}, {prompts}", tmp_path / "own.png"))
    window.has(prompt="a ball")
    open_both(window)
    window.has(**{name: str(value) for name, value in OWN.items()})
    window.generate()
    window.made(1)
    assert sent(server) == OWN
    window.drop_on_prompt(picture_with(f"a cube\n{last}, Hires sampler: Use same sampler", tmp_path / "same.png"))
    window.has(prompt="a cube", hr_prompt="", hr_cfg="", hr_sampler_name="Same as the first")
    window.generate()
    window.made(2)
    assert sent(server) == NOTHING


def test_a_cfg_scale_that_is_none_is_told_by_its_name(window: Window) -> None:
    open_both(window)
    window.number("hr_cfg", "strong")
    window.generate()
    expect(window.messages("txt2img").first).to_contain_text("Hires CFG scale")
