"""The page itself: gallery and viewer, phones, light and dark, a server that goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Server
from tests.browser.window import Window

pytestmark = pytest.mark.browser

TABS = ("txt2img", "img2img", "inpaint", "gallery", "extensions")


def test_the_gallery_shows_pictures_of_all_windows_and_the_viewer_walks_through_them(
    new_window: Callable[[], Window],
) -> None:
    first, second = new_window(), new_window()
    first.prompt("for the gallery")
    first.number("steps", 2)
    first.number("batch_size", 3)
    first.generate()
    ids = first.made(3)
    second.tab("gallery")
    second.page.click("#a-gallery .a-thumb >> nth=0")
    expect(second.text).to_contain_text("for the gallery")
    second.picture.click()
    shown = second.page.locator(".a-viewer img")
    expect(shown).to_have_attribute("src", f"/api/v1/images/{ids[0]}.png")
    second.page.keyboard.press("ArrowRight")
    expect(shown).to_have_attribute("src", f"/api/v1/images/{ids[1]}.png")
    second.page.keyboard.press("ArrowLeft")
    expect(shown).to_have_attribute("src", f"/api/v1/images/{ids[0]}.png")
    with second.page.expect_download() as download:
        second.page.keyboard.press("s")
    assert download.value.path().read_bytes()[:4] == b"\x89PNG"
    second.page.keyboard.press("Escape")
    expect(second.page.locator(".a-viewer")).to_be_hidden()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_no_tab_is_wider_than_the_window_and_generate_is_in_sight(
    browser: Browser, server: Server, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=server.url)
    window = Window.open(context.new_page())
    for tab in TABS:
        window.tab(tab)
        if tab == "extensions":
            window.page.locator(".a-ext").first.wait_for()
        assert window.evaluate("document.scrollingElement.scrollWidth") <= width, tab
        if tab not in ("gallery", "extensions"):
            expect(window.page.locator(f"#{tab}-generate")).to_be_in_viewport(ratio=1)
    context.close()


CROWDED = """[...document.querySelectorAll('.a-left .form > .block')].filter((block) => {
  const input = block.querySelector('input[role=combobox]'), arrow = block.querySelector('.icon-wrap');
  const isUnder = input && arrow && block.offsetWidth && input.getBoundingClientRect().right
    - parseFloat(getComputedStyle(input).paddingRight) > arrow.getBoundingClientRect().left;
  return isUnder || block.scrollWidth > block.clientWidth;
}).map((block) => block.id)"""
"""The controls that stick out of their box, or whose choice lies under the arrow."""


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_every_control_fits_into_its_box(browser: Browser, server: Server, width: int, height: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=server.url)
    window = Window.open(context.new_page())
    for tab in TABS[:3]:
        window.tab(tab)
        for part in ("hires", "hires-own", "refine", "advanced"):
            folded = window.page.locator(f"#{tab}-{part} > .label-wrap")
            if folded.count():
                folded.click()
        assert window.evaluate(CROWDED) == [], tab
    context.close()


def test_light_and_dark_are_a_choice_that_stays(window: Window) -> None:
    before = window.evaluate("document.body.classList.contains('dark')")
    window.page.click("#a-theme")
    window.reload()
    assert window.evaluate("document.body.classList.contains('dark')") is not before


def test_the_foot_tells_what_models_take_of_the_memory_and_lets_go_of_them(window: Window) -> None:
    told = window.page.locator("#a-memory-told")
    window.page.click("#a-memory > summary")
    expect(told).to_contain_text("3.0 GB used by the engine, 12.0 GB free of 16.0 GB")
    expect(told).to_contain_text("automatic: whole models at once")
    expect(told).to_contain_text("toybox (17 MB)")
    told.get_by_role("button", name="Let go of all models").click()
    expect(told).to_contain_text("none are loaded")
    expect(told.get_by_role("button")).to_be_disabled()
    window.page.keyboard.press("Escape")
    expect(told).to_be_hidden()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("own"))
    server.start()
    yield server
    server.stop()


def test_a_page_left_open_goes_on_by_itself_when_the_server_is_back(browser: Browser, own_server: Server) -> None:
    context = browser.new_context(base_url=own_server.url)
    window = Window.open(context.new_page())
    window.prompt("outlives the server")
    window.number("steps", 1000)
    window.generate()
    window.runs()
    own_server.stop()
    expect(window.page.locator("#a-banner")).to_contain_text("does not answer", timeout=8000)
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("did not take the job")
    own_server.start()
    # Gradio may load the page anew when it has its server again; that must be all the same.
    window.page.wait_for_function("() => window.atelier?.jobs.known()[0]?.state === 'interrupted'")
    window.stands()
    expect(window.page.locator("#a-banner")).to_be_hidden()
    window.has(prompt="outlives the server")
    window.number("steps", 2)
    window.generate()
    window.made()
    context.close()
