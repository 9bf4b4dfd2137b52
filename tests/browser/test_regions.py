"""Region prompts in the page: lines that are typed, and regions that are painted in colours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Server
from tests.browser.window import Window
from webui.images.controltext import OWN_CHUNK
from webui.images.infotext import PARAMETERS
from webui.images.save import save_png

pytestmark = pytest.mark.browser


def accordion(window: Window) -> Locator:
    found = window.page.locator(".a-extras[data-tab=txt2img] details[data-ext=regions]")
    found.locator("summary").click()
    return found


def stroke(window: Window, where: float) -> None:
    """A brush pulled down the canvas at a part of its width."""
    frame = window.page.locator(".a-paint .a-board").bounding_box()
    assert frame is not None
    x = frame["x"] + frame["width"] * where
    window.page.mouse.move(x, frame["y"] + frame["height"] * 0.2)
    window.page.mouse.down()
    window.page.mouse.move(x, frame["y"] + frame["height"] * 0.8, steps=4)
    window.page.mouse.up()


def colours_of(path: str) -> set[tuple[int, int, int]]:
    image = Image.open(path).convert("RGB")
    return {colour for _count, colour in image.getcolors(1 << 20)}


def test_two_regions_are_painted_named_and_sent(window: Window, server: Server) -> None:
    fields = accordion(window)
    fields.locator("textarea").fill("red: a ball\nblue: a cube")
    fields.get_by_role("button", name="Paint", exact=True).click()
    window.page.locator(".a-paint .a-board").wait_for()
    stroke(window, 0.25)
    window.page.locator(".a-paint .a-swatch[title=blue]").click()
    stroke(window, 0.75)
    window.page.locator(".a-paint").get_by_role("button", name="Use it").click()
    expect(fields.get_by_alt_text("Painted regions")).to_be_visible()
    window.generate()
    window.made()
    sent = server.jobs()[0]["request"]["ext"]["regions"]
    assert sent["regions"] == "red: a ball\nblue: a cube"
    painted = Image.open(server.input(sent["painting"]["sha256"])).convert("RGB")
    middle = painted.height // 2
    assert painted.getpixel((painted.width // 4, middle)) == (255, 0, 0)
    assert painted.getpixel((painted.width * 3 // 4, middle)) == (0, 0, 255)
    assert painted.getpixel((painted.width // 2, middle)) == (0, 0, 0)


def test_a_painting_is_opened_again_and_is_kept_over_a_reload(window: Window, server: Server) -> None:
    fields = accordion(window)
    fields.get_by_role("button", name="Paint", exact=True).click()
    stroke(window, 0.25)
    window.page.locator(".a-paint").get_by_role("button", name="Use it").click()
    expect(fields.get_by_alt_text("Painted regions")).to_be_visible()
    window.reload()
    fields = accordion(window)
    shown = fields.get_by_alt_text("Painted regions")
    before = shown.get_attribute("src") or ""
    fields.get_by_role("button", name="Paint", exact=True).click()
    window.page.locator(".a-paint .a-swatch[title=green]").click()
    stroke(window, 0.75)
    window.page.locator(".a-paint").get_by_role("button", name="Use it").click()
    expect(shown).not_to_have_attribute("src", before)
    fields.locator("textarea").fill("red: a ball\ngreen: a cube")
    window.generate()
    window.made()
    sent = server.jobs()[0]["request"]["ext"]["regions"]
    assert {(255, 0, 0), (0, 128, 0), (0, 0, 0)} <= colours_of(str(server.input(sent["painting"]["sha256"])))


def test_a_pictures_text_cannot_name_another_address_than_that_of_a_picture(window: Window, tmp_path: Path) -> None:
    told = {"v": 1, "control": [], "ext": {"regions": {"painting": {"sha256": "../../../queue?at="}}}}
    parameters = "a ball\nSteps: 4, Sampler: Euler a, CFG scale: 4, Seed: 1"
    texts = {PARAMETERS: parameters, OWN_CHUNK: json.dumps(told)}
    save_png(Image.new("RGB", (64, 64)), tmp_path / "made.png", texts)
    window.drop_on_prompt(tmp_path / "made.png")
    shown = accordion(window).get_by_alt_text("Painted regions")
    expect(shown).to_have_attribute("src", "/api/v1/inputs/..%2F..%2F..%2Fqueue%3Fat%3D.png")
