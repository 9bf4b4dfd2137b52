"""The page with the real engine and the model that ships: the whole way from a click to pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import ROOT, Server
from tests.browser.test_control import paint_across, panel, press, set_number
from tests.browser.window import Window
from tests.ext.folders import write_extension

pytestmark = pytest.mark.browser

SIDE = 128
GLOW_TABLES = """
[[preprocessor]]
id = "halo"
label = "Halo"
group = "Canny"
entry = "main:halo"
kind = "edges"
resolution = 512
param = [{ id = "low", type = "int", min = 0, max = 255, default = 100 }]
[[accordion]]
label = "Glowing"
tabs = ["txt2img"]
fields = [{ id = "ink", type = "choice", choices = ["none", "blue"] }]
"""
GLOW = """
def halo(image, *, low):
    return ((image > low) * 255).astype("uint8")


def after_decode(p):
    image = p.image
    if p.params["ink"] == "blue":
        image[2] = 1
    return image
"""


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("real")
    folder = root / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    (folder / "toybox.safetensors").symlink_to(ROOT / "models" / "Stable-diffusion" / "toybox.safetensors")
    (folder / "torn.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (root / "models" / "ControlNet").symlink_to(ROOT / "models" / "ControlNet")
    (root / "extensions").mkdir()
    server = Server(root, "webui", options=[f"--extensions-dir={root / 'extensions'}"])
    server.start()
    yield server
    server.stop()


def pixels(server: Server, image_id: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(server.picture(image_id))).convert("RGB")).astype(int)


def test_each_tab_draws_with_the_model_that_ships(browser: Browser, real_server: Server) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=real_server.url)
    context.set_default_timeout(120_000)
    window = Window.open(context.new_page())
    window.choose_model("torn")
    expect(window.page.locator("#a-hint .a-hint-problem")).to_contain_text("torn")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("torn")
    window.page.click("#model-refresh")
    window.choose_model("toybox")
    expect(window.page.locator("#a-hint .a-hint-problem")).to_have_text("")
    window.page.click("#a-hint .a-example >> nth=0")
    prompt = window.page.locator("#txt2img-prompt textarea")
    expect(prompt).not_to_have_value("")
    window.number("steps", 8)
    window.number("seed", 5)
    sources = window.watch("picture", "src")
    window.generate()
    (drawn,) = window.made()
    first = pixels(real_server, drawn)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.std() > 10
    assert any("/preview.jpg" in source for source in sources())
    expect(window.text).to_contain_text("Model: toybox")

    window.page.click("#a-panel .a-send-img2img")
    window.page.wait_for_selector("#img2img-image img")
    window.number("denoising_strength", 0, "img2img")
    window.generate("img2img")
    again = pixels(real_server, window.made(2)[0])
    assert np.abs(again - first).mean() < 12  # only through the autoencoder and back

    window.page.click(f"#a-panel .a-strip [data-id='{drawn}']")
    window.page.click("#a-panel .a-send-inpaint")
    window.editor_has_picture()
    window.paint((SIDE, SIDE), (40, 64), (88, 64))
    window.number("denoising_strength", 1, "inpaint")
    window.generate("inpaint")
    inpainted = pixels(real_server, window.made(3)[0])
    changed = np.abs(inpainted - first).max(axis=2) > 0
    assert not changed[:40].any()
    assert not changed[88:].any()
    assert changed[58:70, 40:88].mean() > 0.5

    window.tab("txt2img")
    window.number("steps", 1000)
    window.generate()
    window.runs()
    window.page.click("#txt2img-interrupt")
    window.rests()
    assert window.states() == ["done", "done", "done", "interrupted"]
    context.close()


def test_a_picture_of_toybox_becomes_a_skeleton_and_the_skeleton_another_picture(
    browser: Browser, real_server: Server
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=real_server.url)
    context.set_default_timeout(120_000)
    window = Window.open(context.new_page())
    window.choose_model("toybox")
    window.page.click("#a-hint .a-example >> nth=4")
    for name, value in (("steps", 12), ("seed", 5)):
        window.number(name, value)
    window.generate()
    (first,) = window.made()
    unit = panel(window)
    person = {"name": "person.png", "mimeType": "image/png", "buffer": real_server.picture(first)}
    unit.locator("input[type=file]").first.set_input_files(person)
    for kind, preprocessor, model in (
        ("Canny", "canny", "canny"),
        ("Depth", "toybox_depth", "depth"),
        ("OpenPose", "toybox_pose", "pose"),
    ):
        press(unit, kind)
        expect(unit.locator(".a-knob[data-id=preprocessor] select")).to_have_value(preprocessor)
        expect(unit.locator(".a-knob[data-id=model] select")).to_have_value(f"toybox-{model}")
        expect(unit.locator(".a-knob[data-id=resolution] input[type=number]")).to_have_value(str(SIDE))
    press(unit, "Preview map")
    expect(unit.get_by_alt_text("The map")).to_be_visible()
    window.number("seed", 6)
    window.generate()
    window.made(2)
    report = window.page.locator("#a-panel .a-report")
    expect(report.get_by_text("Unit 1: toybox-pose")).to_be_visible()
    expect(report.locator("rect")).to_have_count(12)


def test_an_extension_is_installed_used_and_switched_off_without_a_restart(
    browser: Browser, real_server: Server, tmp_path: Path
) -> None:
    """Its code runs: the map and the picture are what it makes, and nothing of it is left when it is off."""
    folder = write_extension(tmp_path, "glow", GLOW, head='hooks = ["after_decode"]', tables=GLOW_TABLES)
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=real_server.url)
    context.set_default_timeout(120_000)
    page = context.new_page()
    window = Window.open(page)
    window.evaluate("() => void (window.sameWindow = true)")
    window.choose_model("toybox")
    window.prompt("a red ball")
    for name, value in (("steps", 4), ("seed", 5), ("width", SIDE), ("height", SIDE)):
        window.number(name, value)
    window.generate()
    plain = pixels(real_server, window.made()[0])

    window.tab("extensions")
    page.fill("#a-extensions-source", str(folder))
    page.get_by_role("button", name="Install", exact=True).click()
    card = page.locator(".a-ext[data-id=glow]")
    press(card, "Allow")
    expect(card.locator(".a-ext-head .a-badge")).to_have_text("On")
    window.tab("txt2img")
    accordion = page.locator(".a-extras[data-tab=txt2img] details[data-ext=glow]")
    accordion.locator("summary").click()
    accordion.locator(".a-knob[data-id=ink] select").select_option("blue")
    unit = panel(window)
    press(unit, "Draw")
    paint_across(window)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    press(unit, "Canny")
    unit.locator(".a-knob[data-id=preprocessor] select").select_option("halo")
    set_number(unit, "low", 99)
    press(unit, "What the model sees")
    expect(unit.get_by_text(f"What the model sees · {SIDE} × {SIDE}")).to_be_visible()
    seen = shown(real_server, unit.get_by_alt_text("What the model sees"))
    drawn = shown(real_server, unit.get_by_alt_text("Picture"))
    assert np.array_equal(seen, (drawn > 99) * 255)
    assert 0 < seen.mean() < 255
    window.generate()
    steered = pixels(real_server, window.made(2)[0])
    assert real_server.jobs()[0]["request"]["ext"] == {"glow": {"ink": "blue"}}
    assert (steered[..., 2] == 255).all()
    assert np.abs(steered[..., 0] - plain[..., 0]).mean() > 1
    expect(page.locator("#a-panel .a-report").get_by_text("Unit 1: toybox-canny")).to_be_visible()

    window.tab("extensions")
    press(card, "Turn off")
    expect(card.locator(".a-ext-head .a-badge")).to_have_text("Off")
    window.tab("txt2img")
    expect(accordion).to_have_count(0)
    unit.get_by_label("Enable").uncheck()
    window.generate()
    assert np.array_equal(pixels(real_server, window.made(3)[0]), plain)
    assert window.evaluate("window.sameWindow")
    context.close()


def shown(server: Server, picture: Locator) -> np.ndarray:
    """(h w 3): what an <img> of the page shows."""
    data = httpx.get(server.url + (picture.get_attribute("src") or "")).content
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
