"""The Extensions tab: what a folder is, what it cost, what its files are; sent in, read again, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.api.test_extensions import packed
from tests.browser.conftest import Server, Watched
from tests.browser.test_control import press
from tests.browser.window import Window
from tests.steered import SKETCH, allow, write_extension

pytestmark = pytest.mark.browser

MODEL = """
[[model]]
id = "net"
file = "net.safetensors"
url = "https://example.org/net.safetensors"
bytes = 9000000
license = "MIT"
repository = "{repository}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the extension Sketch in an extensions folder of its own."""
    root = tmp_path_factory.mktemp("extensions")
    write_extension(root / "extensions" / "sketch")
    allow(root / "data", "sketch")
    one = Server(root, options=(f"--extensions-dir={root / 'extensions'}",))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server) -> Watched:
    return Watched(browser, server)


def card(window: Window, id: str = "sketch") -> Locator:
    """What the tab shows of an extension."""
    window.tab("extensions")
    return window.page.locator(f".a-ext[data-id={id}]")


def fact(shown: Locator, name: str) -> Locator:
    return shown.locator(f"dt:text-is('{name}') + dd")


def accordion(window: Window) -> Locator:
    """The fields of Sketch, opened."""
    found = window.page.locator(".a-extras[data-tab=txt2img] details[data-ext=sketch]")
    found.locator("summary").wait_for()
    if found.get_attribute("open") is None:
        found.locator("summary").click()
    return found


def test_a_card_tells_what_an_extension_is_and_after_a_job_what_it_cost(window: Window) -> None:
    shown = card(window)
    expect(shown.locator(".a-ext-head")).to_contain_text("Sketch1.2.0On")
    expect(shown).to_contain_text("Maps for tests.")
    expect(fact(shown, "Hooks")).to_have_text("after_cfg")
    expect(fact(shown, "Preprocessors")).to_have_text("Lines")
    expect(fact(shown, "Load time")).to_have_count(0)
    window.tab("txt2img")
    accordion(window).locator(".a-knob[data-id=ink] select").select_option("blue")
    window.prompt("a tired ball")
    window.generate()
    window.made()
    shown = card(window)
    expect(fact(shown, "Load time")).to_have_text("125 ms")
    expect(fact(shown, "Hooks")).to_have_text("after_cfg 250 ms")
    expect(fact(shown, "Also called")).to_have_text("preprocessor lines 2.5 s")
    expect(shown.locator(".a-problem")).to_have_text(
        "Failed three times in a row and is not called any more, until Reload: job_done"
    )


def test_an_accordion_takes_part_at_its_defaults_when_it_is_switched_on_by_hand(window: Window, server: Server) -> None:
    window.tab("txt2img")
    fields = accordion(window)
    switch = fields.get_by_label("Enable")
    expect(switch).not_to_be_checked()
    switch.check()
    expect(fields.locator(".a-badge")).to_have_text("on")
    window.generate()
    window.made()
    assert server.jobs()[0]["request"]["ext"] == {"sketch": {"strength": 0.5, "ink": "black"}}
    window.reload()
    fields = accordion(window)
    expect(fields.get_by_label("Enable")).to_be_checked()
    fields.locator(".a-knob[data-id=ink] select").select_option("blue")
    fields.get_by_label("Enable").uncheck()
    expect(fields.locator(".a-badge")).to_be_hidden()
    window.generate()
    window.made()
    assert server.jobs()[0]["request"]["ext"] == {}
    expect(fields.locator(".a-knob[data-id=ink] select")).to_have_value("blue")


def test_a_picture_of_an_extension_at_its_defaults_brings_it_back(
    window: Window, server: Server, tmp_path: Path
) -> None:
    window.tab("txt2img")
    accordion(window).get_by_label("Enable").check()
    window.generate()
    (image_id,) = window.made()
    file = tmp_path / "made.png"
    file.write_bytes(server.picture(image_id))
    accordion(window).get_by_label("Enable").uncheck()
    window.drop_on_prompt(file)
    expect(accordion(window).get_by_label("Enable")).to_be_checked()


def test_a_zip_is_sent_in_and_its_folder_removed(window: Window, server: Server) -> None:
    text = SKETCH.replace('"sketch"', '"zipped"').replace('"lines"', '"zipped_lines"')
    text += MODEL.format(repository="https://example.org/about-net")
    body = packed({"zipped/extension.toml": text, "zipped/main.py": ""})
    shown = card(window, "zipped")
    expect(window.page.locator("#a-extensions-install")).to_be_visible()
    file = {"name": "zipped.zip", "mimeType": "application/zip", "buffer": body}
    window.page.locator("#a-extensions-zip").set_input_files(files=[file])
    expect(window.messages("extensions")).to_contain_text("Installed. It is off until you allow it.")
    expect(shown).to_contain_text("nobody has allowed it yet")
    shown.locator("summary", has_text="Model files").click()
    wanted = shown.locator(".a-wanted")
    expect(wanted).to_contain_text("net.safetensors, 9 MB, MIT, from https://example.org/about-net")
    expect(wanted.get_by_role("link")).to_have_attribute("href", "https://example.org/about-net")
    press(shown, "Remove")
    expect(window.messages("extensions")).to_contain_text("Press Remove once more to do it.")
    assert (server.root / "extensions" / "zipped").is_dir()
    press(shown, "Remove")
    expect(shown).to_have_count(0)
    assert not (server.root / "extensions" / "zipped").exists()


def test_reload_reads_a_folder_that_was_edited(window: Window, server: Server) -> None:
    shown = card(window)
    expect(shown.locator(".a-ext-head")).to_contain_text("1.2.0")
    edited = SKETCH.replace('"1.2.0"', '"1.3.0"') + MODEL.format(repository="someone/net")
    write_extension(server.root / "extensions" / "sketch", edited)
    press(shown, "Reload")
    expect(window.messages("extensions")).to_contain_text("Sketch: its files are read again before the next job.")
    expect(shown.locator(".a-ext-head")).to_contain_text("1.3.0")
    shown.locator("summary", has_text="Model files").click()
    expect(shown.locator(".a-wanted")).to_contain_text("from someone/net")
    expect(shown.locator(".a-wanted").get_by_role("link")).to_have_count(0)
