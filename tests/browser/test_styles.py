"""Styles are chosen in the page, drawn with, remembered, and come back from a picture's text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import Server, Watched
from tests.browser.test_prompt import picture_with
from tests.browser.window import Window
from webui.prompt.styles import write_names

pytestmark = pytest.mark.browser
STYLES = 'name,prompt,negative_prompt\nInk,"ink, {prompt}",photo\nFine art,fine,\n"Red, blue",colours,\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("styles"))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server) -> Watched:
    return Watched(browser, server)


@pytest.fixture
def styles(server: Server) -> Iterator[Path]:
    file = server.root / "styles.csv"
    file.write_text(STYLES, encoding="utf-8")
    yield file
    file.unlink()


def chosen(window: Window, tab: str = "txt2img") -> Locator:
    return window.page.locator(f"#{tab}-styles .token")


def choose(window: Window, *names: str) -> None:
    for name in names:
        window.page.click("#txt2img-styles input")
        window.page.get_by_role("option", name=name).click()
    window.page.click("#txt2img-prompt textarea")


def test_styles_are_chosen_drawn_with_and_remembered(styles: Path, window: Window, server: Server) -> None:
    window.prompt("a cat")
    choose(window, "Red, blue", "Ink")
    expect(chosen(window)).to_have_text(["Red, blue", "Ink"])
    window.generate()
    window.made()
    request = server.jobs()[0]["request"]
    assert (request["prompt"], request["styles"]) == ("a cat", ["Red, blue", "Ink"])
    window.reload()
    expect(chosen(window)).to_have_text(["Red, blue", "Ink"])
    chosen(window).nth(0).locator(".token-remove").click()
    expect(chosen(window)).to_have_text(["Ink"])
    window.page.click("#a-panel .a-reuse")
    expect(chosen(window)).to_have_text(["Red, blue", "Ink"])
    window.page.click("#a-panel .a-send-img2img")
    window.tab("img2img")
    expect(chosen(window, "img2img")).to_have_text(["Red, blue", "Ink"])


def test_a_dropped_picture_brings_its_styles_or_their_words(styles: Path, window: Window, tmp_path: Path) -> None:
    last = "Steps: 3, Sampler: Euler, CFG scale: 4, Seed: 1"
    names = json.dumps(write_names(["Ink", "Red, blue"]))
    written = f"{last}, Template: a cat, Negative Template: , Styles: {names}"
    text = f"ink, a cat, colours\nNegative prompt: photo\n{written}"
    window.drop_on_prompt(picture_with(text, tmp_path / "here.png"))
    expect(chosen(window)).to_have_text(["Ink", "Red, blue"])
    window.has(prompt="a cat", negative_prompt="")
    window.drop_on_prompt(picture_with(f"old, a cat\n{last}, Template: a cat, Styles: Old", tmp_path / "gone.png"))
    expect(chosen(window)).to_have_count(0)
    window.has(prompt="old, a cat")
    expect(window.messages("txt2img").last).to_contain_text("Its styles (Old) are not here as they were")


def test_styles_that_are_gone_are_let_go_and_an_empty_list_is_not_shown(
    styles: Path, window: Window, server: Server
) -> None:
    listed = window.page.locator("#txt2img-styles")
    choose(window, "Ink", "Fine art")
    styles.write_text("name,prompt\nFine art,fine\n", encoding="utf-8")
    window.generate()
    expect(window.messages("txt2img").first).to_contain_text("There is no style 'Ink'")
    window.page.click("#model-refresh")
    expect(window.messages("txt2img").first).to_contain_text("Styles that are not here any more are left out: Ink.")
    expect(chosen(window)).to_have_text(["Fine art"])
    styles.write_text("", encoding="utf-8")
    window.reload()
    expect(listed).to_be_hidden()
    expect(window.messages("txt2img").first).to_contain_text("left out: Fine art.")
    window.generate()
    window.made()
    assert server.jobs()[0]["request"]["styles"] == []
    styles.write_text(STYLES, encoding="utf-8")
    window.page.click("#model-refresh")
    expect(listed).to_be_visible()
    expect(chosen(window)).to_have_count(0)


def test_letters_find_a_style_and_choose_no_other(styles: Path, window: Window) -> None:
    window.page.click("#txt2img-styles input")
    window.page.keyboard.type("fin")
    expect(window.page.locator("ul[role=listbox] [role=option]")).to_have_text([re.compile("Fine art")])
    window.page.keyboard.press("Enter")
    expect(chosen(window)).to_have_text(["Fine art"])
    window.page.keyboard.type("nothing")
    window.page.click("#txt2img-prompt textarea")
    expect(chosen(window)).to_have_text(["Fine art"])


def book(window: Window, part: str) -> Locator:
    return window.page.locator(f".a-book {part}")


def open_book(window: Window, tab: str = "txt2img") -> None:
    window.page.click(f".a-styles[data-tab={tab}] .a-style-edit")
    expect(book(window, "select")).to_be_visible()


def press(window: Window, name: str) -> None:
    book(window, "button").get_by_text(name, exact=True).click()


def test_prompts_are_saved_as_a_style_that_is_edited_and_deleted(window: Window, server: Server) -> None:
    file = server.root / "styles.csv"
    window.prompt("oil paint, {prompt}")
    window.page.fill("#txt2img-negative_prompt textarea", "photo")
    open_book(window)
    expect(book(window, ".a-strong")).to_be_disabled()
    book(window, "input").fill("Oil, old")
    press(window, "Save")
    expect(book(window, ".a-book-note")).to_have_text("Saved.")
    assert file.read_bytes().endswith(b'\r\n"Oil, old","oil paint, {prompt}",photo\r\n')

    book(window, "select").select_option("New style")
    book(window, "input").fill("Oil, old")
    book(window, "textarea").nth(0).fill("oil")
    press(window, "Save")
    expect(book(window, ".a-book-note")).to_contain_text("Press Save again to replace it.")
    assert b"oil paint" in file.read_bytes()
    press(window, "Save")
    expect(book(window, ".a-book-note")).to_have_text("Saved.")
    assert file.read_bytes().endswith(b'\r\n"Oil, old",oil,photo\r\n')
    window.page.keyboard.press("Escape")
    expect(book(window, "select")).to_have_count(0)

    window.prompt("a cat")
    choose(window, "Oil, old")
    window.generate()
    window.made()
    assert server.jobs()[0]["request"]["styles"] == ["Oil, old"]

    open_book(window)
    expect(book(window, "input")).to_have_value("Oil, old")
    expect(book(window, "textarea").nth(0)).to_have_value("oil")
    press(window, "Delete")
    assert b"Oil, old" in file.read_bytes()
    press(window, "Really delete?")
    expect(book(window, ".a-book-note")).to_have_text("Deleted.")
    assert b"Oil" not in file.read_bytes()
    press(window, "Close")
    expect(window.page.locator("#txt2img-styles")).to_be_hidden()
    file.unlink()
    (server.root / "styles.csv.bak").unlink()


def test_chosen_styles_are_written_into_the_prompts(styles: Path, window: Window, server: Server) -> None:
    apply = window.page.locator(".a-styles[data-tab=txt2img] .a-style-apply")
    expect(apply).to_be_hidden()
    window.prompt("a cat")
    choose(window, "Ink", "Fine art")
    counted = window.page.locator("#txt2img-prompt .a-tokens")
    expect(counted).to_have_text("4/75")
    apply.click()
    expect(counted).not_to_have_text("4/75")
    window.has(prompt="ink, a cat, fine", negative_prompt="photo")
    expect(chosen(window)).to_have_count(0)
    expect(apply).to_be_hidden()


def test_what_cannot_be_saved_is_told_in_the_dialog(styles: Path, window: Window) -> None:
    open_book(window)
    book(window, "input").fill("=1+1")
    press(window, "Save")
    expect(book(window, ".a-book-note")).to_contain_text("cannot be the name of a style")
    assert styles.read_text(encoding="utf-8") == STYLES


def test_keys_of_the_page_do_nothing_while_styles_are_edited(window: Window, server: Server) -> None:
    before = len(server.jobs())
    open_book(window)
    window.page.keyboard.press("Control+Enter")
    window.page.keyboard.press("Escape")
    expect(book(window, "select")).to_have_count(0)
    window.page.wait_for_timeout(300)
    assert len(server.jobs()) == before


def test_a_server_that_others_reach_offers_no_editing(styles: Path, window: Window) -> None:
    window.page.route("**/api/v1/styles", lambda route: route.fulfill(json={"styles": [], "locked": "No."}))
    window.reload()
    expect(window.page.locator(".a-styles[data-tab=txt2img] .a-style-edit")).to_be_hidden()
