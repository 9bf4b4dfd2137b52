"""Models that read a picture or a mask, or end what another began, in the page, with the real engine."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Server
from tests.browser.window import Window
from tests.support import tiny_depth_model, tiny_upscaler, write_tiny_checkpoint
from webui.nn.config import with_extra

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def special_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("special")
    folder = root / "models" / "Stable-diffusion"
    config = write_tiny_checkpoint(folder / "plain.safetensors")
    write_tiny_checkpoint(folder / "edits.safetensors", config=with_extra(config, "edit"))
    write_tiny_checkpoint(folder / "paints.safetensors", config=with_extra(config, "inpaint"))
    write_tiny_checkpoint(folder / "deep.safetensors", "sd2", config=tiny_depth_model())
    write_tiny_checkpoint(folder / "larger.safetensors", "sd2", config=tiny_upscaler())
    write_tiny_checkpoint(folder / "refines.safetensors", seed=1)
    server = Server(root, "webui")
    server.start()
    yield server
    server.stop()


def test_an_edit_model_brings_its_scale_and_draws_where_there_is_a_picture(
    browser: Browser, special_server: Server
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=special_server.url)
    context.set_default_timeout(60_000)
    window = Window.open(context.new_page())
    window.choose_model("plain")
    window.tab("img2img")
    scale = window.page.locator("#img2img-image_cfg_scale")
    expect(scale).to_be_hidden()
    window.choose_model("edits")
    expect(scale).to_be_visible()

    window.tab("txt2img")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("edits edits pictures")

    window.tab("img2img")
    picture = special_server.root / "picture.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    window.page.set_input_files("#img2img-image input[type=file]", picture)
    window.page.wait_for_selector("#img2img-image img")
    window.number("steps", 2, "img2img")
    window.number("image_cfg_scale", 2.5, "img2img")
    window.generate("img2img")
    window.made(1)
    expect(window.text).to_contain_text("Image CFG scale: 2.5")

    weight = window.page.locator("#img2img-inpainting_mask_weight")
    expect(weight).to_be_hidden()
    window.choose_model("paints")
    expect(scale).to_be_hidden()
    expect(weight).to_be_visible()
    window.number("inpainting_mask_weight", 0.5, "img2img")
    window.generate("img2img")
    window.made(2)
    expect(window.text).not_to_contain_text("Image CFG scale")
    expect(window.text).to_contain_text("Conditional mask weight: 0.5")
    context.close()


def test_a_refiner_is_chosen_draws_the_end_and_stands_in_the_text(browser: Browser, special_server: Server) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=special_server.url)
    context.set_default_timeout(60_000)
    window = Window.open(context.new_page())
    window.choose_model("plain")
    window.prompt("a ball")
    window.number("steps", 4)
    window.number("seed", 5)
    window.page.click("#txt2img-refine > .label-wrap")
    window.has(refiner="None")
    window.generate()
    (alone,) = window.made(1)
    expect(window.text).not_to_contain_text("Refiner")

    window.page.click("#txt2img-refiner input")
    window.page.locator("#txt2img-refiner [role=option]", has_text="refines").click()
    window.number("refiner_switch_at", 0.5)
    window.generate()
    refined = window.made(2)[0]
    expect(window.text).to_contain_text("Refiner: refines, Refiner switch at: 0.5")
    assert pixels(special_server, refined) != pixels(special_server, alone)

    window.number("refiner_switch_at", 1)
    window.generate()
    late = window.made(3)[0]
    assert pixels(special_server, late) == pixels(special_server, alone)
    context.close()


def pixels(server: Server, image_id: str) -> bytes:
    return Image.open(io.BytesIO(server.picture(image_id))).tobytes()


def test_an_upscaler_brings_its_noise_level_and_a_depth_model_draws_from_a_picture(
    browser: Browser, special_server: Server
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=special_server.url)
    context.set_default_timeout(60_000)
    window = Window.open(context.new_page())
    window.choose_model("plain")
    window.tab("img2img")
    level, strength = (window.page.locator(f"#img2img-{name}") for name in ("noise_level", "denoising_strength"))
    expect(level).to_be_hidden()
    expect(strength).to_be_visible()
    window.choose_model("larger")
    expect(level).to_be_visible()
    expect(strength).to_be_hidden()

    window.tab("txt2img")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("larger enlarges pictures")

    window.tab("img2img")
    picture = special_server.root / "small.png"
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(picture)
    window.page.set_input_files("#img2img-image input[type=file]", picture)
    window.page.wait_for_selector("#img2img-image img")
    window.number("steps", 2, "img2img")
    window.number("noise_level", 50, "img2img")
    window.generate("img2img")
    window.made(1)
    expect(window.text).to_contain_text("Size: 96x64")
    expect(window.text).to_contain_text("Noise level: 50")

    window.choose_model("deep")
    expect(level).to_be_hidden()
    window.generate("img2img")
    window.made(2)
    expect(window.text).to_contain_text("Model: deep")
    expect(window.text).to_contain_text("Size: 24x16")
    context.close()
