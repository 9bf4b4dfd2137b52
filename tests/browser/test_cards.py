"""The Models tab: cards that are found, put into the prompt, told of and described; downloads that are followed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import Server, Watched
from tests.browser.window import Window
from tests.fetch.stand_in import Served, StandIn, stand_in
from tests.modelfiles.files import picture, write_embedding, write_lora

pytestmark = pytest.mark.browser
MANY = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with some networks and embeddings."""
    root = tmp_path_factory.mktemp("cards")
    lora = root / "models" / "Lora"
    style = write_lora(lora / "style.safetensors", {"ss_tag_frequency": {"a": {"washes": 3, "paper": 2}}})
    style.with_suffix(".png").write_bytes(picture("red"))
    said = {"activation text": "wtrclr", "preferred weight": 0.8, "negative text": "photo"}
    style.with_suffix(".json").write_text(json.dumps(said))
    write_lora(lora / "sub" / "<img src=x onerror=alert(1)>.safetensors")
    (lora / "broken.safetensors").write_bytes(b"<!doctype html>")
    write_embedding(root / "models" / "embeddings" / "bad-hands.safetensors")
    for number in range(MANY):
        write_embedding(root / "models" / "embeddings" / "many" / f"word{number:03}.safetensors")
    one = Server(root)
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server) -> Watched:
    return Watched(browser, server)


@pytest.fixture
def far() -> Iterator[StandIn]:
    with stand_in() as one:
        yield one


def opened(window: Window, kind: str) -> Window:
    """The tab, with the cards of a kind."""
    window.tab("models")
    chosen = window.page.locator(f"#a-cards-kinds [data-kind={kind}]")
    chosen.click()
    expect(chosen).to_have_attribute("aria-checked", "true")
    return window


def card(window: Window, name: str) -> Locator:
    return window.page.locator(".a-card", has=window.page.locator(f"strong:text-is('{name}')"))


def press(window: Window, name: str) -> None:
    card(window, name).locator(".a-card-use").click()


def test_a_press_puts_a_lora_with_its_words_into_the_prompt_and_another_takes_it_out(window: Window):
    window.prompt("a ball")
    opened(window, "lora")
    press(window, "style")
    expect(card(window, "style").locator(".a-card-use")).to_have_attribute("aria-pressed", "true")
    window.tab("txt2img")
    window.has(prompt="a ball, <lora:style:0.8>, wtrclr", negative_prompt="photo")
    window.tab("models")
    press(window, "style")
    expect(card(window, "style").locator(".a-card-use")).to_have_attribute("aria-pressed", "false")
    window.tab("txt2img")
    window.has(prompt="a ball", negative_prompt="")


def test_it_goes_into_the_tab_that_was_open_last(window: Window):
    window.tab("img2img")
    opened(window, "embedding")
    window.page.fill("#a-cards-search", "bad-hands")
    expect(window.page.locator(".a-card")).to_have_count(1)
    press(window, "bad-hands")
    window.tab("img2img")
    window.has("img2img", prompt="bad-hands")


def test_cards_are_searched_and_come_a_page_at_a_time(window: Window):
    opened(window, "embedding")
    expect(window.page.locator("#a-cards-count")).to_have_text(f"{MANY + 1} files")
    first = window.page.locator(".a-card").count()
    assert 0 < first < MANY
    window.page.locator(".a-card").last.scroll_into_view_if_needed()
    window.page.wait_for_function(f"document.querySelectorAll('.a-card').length > {first}")
    window.page.fill("#a-cards-search", "word299")
    expect(window.page.locator(".a-card")).to_have_count(1)
    window.page.fill("#a-cards-search", "")
    window.page.select_option("#a-cards-folder", "many")
    expect(window.page.locator("#a-cards-count")).to_have_text(f"{MANY} files")


def test_arrow_keys_go_from_card_to_card(window: Window):
    opened(window, "lora")
    first = window.page.locator(".a-card-use").first
    first.focus()
    window.page.keyboard.press("ArrowRight")
    expect(window.page.locator(".a-card-use").nth(1)).to_be_focused()
    window.page.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()


def test_the_details_tell_of_training_and_put_single_words_into_the_prompt(window: Window):
    opened(window, "lora")
    more = card(window, "style").locator(".a-card-more")
    more.click()
    about = window.page.get_by_role("dialog")
    expect(about).to_contain_text("SD 1.x")
    expect(about.locator("dt:text-is('File') + dd")).to_have_text("style.safetensors")
    chip = about.get_by_role("button", name="washes")
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    window.page.keyboard.press("Escape")
    expect(about).to_have_count(0)
    expect(more).to_be_focused()
    window.tab("txt2img")
    window.has(prompt="washes")


def test_the_keys_stay_in_the_details(window: Window):
    opened(window, "lora")
    card(window, "style").locator(".a-card-more").click()
    about = window.page.get_by_role("dialog")
    expect(about.get_by_role("button", name="Close")).to_be_focused()
    window.page.keyboard.press("Shift+Tab")
    expect(about.get_by_role("button", name="Save")).to_be_focused()
    window.page.keyboard.press("Tab")
    expect(about.get_by_role("button", name="Close")).to_be_focused()


def test_what_the_user_says_is_kept_beside_the_file(window: Window, server: Server):
    opened(window, "lora")
    card(window, "style").locator(".a-card-more").click()
    about = window.page.get_by_role("dialog")
    about.get_by_label("Notes").fill("mine")
    about.get_by_role("button", name="Save").click()
    expect(window.messages("about")).to_contain_text("Saved.")
    said = json.loads((server.root / "models" / "Lora" / "style.json").read_text())
    assert (said["notes"], said["activation text"]) == ("mine", "wtrclr")


def test_a_picture_that_was_made_becomes_the_preview(window: Window, server: Server):
    window.prompt("a ball")
    window.generate()
    window.made()
    preview = server.root / "models" / "Lora" / "style.png"
    before = preview.read_bytes()
    opened(window, "lora")
    card(window, "style").locator(".a-card-more").click()
    window.page.get_by_role("button", name="Preview from the chosen picture").click()
    expect(window.messages("about")).to_contain_text("The preview is set.")
    assert preview.read_bytes() != before


def test_a_file_that_cannot_be_used_says_why(window: Window):
    opened(window, "lora")
    press(window, "broken")
    expect(window.page.get_by_role("dialog").locator(".a-problem")).to_contain_text("is a web page, not a model")


def test_a_name_is_never_read_as_html(window: Window):
    opened(window, "lora")
    window.page.fill("#a-cards-search", "onerror")
    shown = window.page.locator(".a-card strong")
    expect(shown).to_have_count(1)
    expect(shown).to_have_text("<img src=x onerror=alert(1)>")
    window.page.locator(".a-card-more").click()
    expect(window.page.get_by_role("dialog").locator(".a-about-head strong")).to_have_text(
        "<img src=x onerror=alert(1)>"
    )


def test_a_download_is_followed_to_its_card(window: Window, far: StandIn, tmp_path: Path):
    data = write_lora(tmp_path / "new.safetensors").read_bytes()
    far.files["/fetched.safetensors"] = Served(data)
    opened(window, "lora")
    window.page.click("#a-downloads-open")
    window.page.fill("#a-downloads input[name=what]", f"{far.url}/fetched.safetensors")
    window.page.get_by_role("button", name="Download", exact=True).last.click()
    expect(window.page.locator(".a-errand")).to_contain_text("fetched.safetensors (LoRA) is in models/Lora.")
    expect(card(window, "fetched")).to_be_visible()
    window.page.fill("#a-downloads input[name=what]", f"{far.url}/missing.safetensors")
    window.page.get_by_role("button", name="Download", exact=True).last.click()
    expect(window.page.locator(".a-errand .a-problem")).to_contain_text("missing.safetensors was not fetched")


def test_the_tab_is_whole_on_a_phone(window: Window):
    window.page.set_viewport_size({"width": 390, "height": 844})
    opened(window, "lora")
    expect(card(window, "style")).to_be_visible()
    assert window.evaluate("document.documentElement.scrollWidth") == 390
