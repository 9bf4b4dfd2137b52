"""What a picture's text says for extensions that do not run here is kept by the page; and many control units."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Server, Watched
from tests.browser.window import Window
from tests.steered import allow, write_control_model, write_extension
from webui.images.controltext import OWN_CHUNK
from webui.images.form import read_form
from webui.images.infotext import PARAMETERS
from webui.images.save import save_png
from webui.images.textchunks import read_texts

pytestmark = pytest.mark.browser
SKETCH = {"strength": 1.5, "ink": "blue"}
AWAY = {"colour": "red", "sizes": [1, 2]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("kept")
    write_extension(root / "extensions" / "sketch")
    write_control_model(root / "models")
    allow(root / "data", "sketch")
    one = Server(root, options=(f"--extensions-dir={root / 'extensions'}",))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server) -> Watched:
    return Watched(browser, server)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A picture in whose text two extensions have values."""
    own = {"v": 1, "control": [], "ext": {"sketch": SKETCH}, "absent_ext": {"away": AWAY}}
    texts = {PARAMETERS: "a ball\nSteps: 4, Sampler: Euler a, CFG scale: 4, Seed: 1", OWN_CHUNK: json.dumps(own)}
    save_png(Image.new("RGB", (64, 64)), tmp_path / "made.png", texts)
    return tmp_path / "made.png"


def made(window: Window, server: Server) -> dict[str, Any]:
    """Draw, and give the request of the job."""
    before = window.evaluate("atelier.result.pictures().length")
    window.generate()
    window.made(before + 1)
    request: dict[str, Any] = server.jobs()[0]["request"]
    return request


def switch(server: Server, verb: str) -> None:
    answer = httpx.post(f"{server.url}/api/v1/extensions/sketch/{verb}", headers={"origin": server.url})
    assert answer.status_code == 200, answer.text


def test_values_go_on_in_new_pictures_until_their_extension_runs_or_they_are_let_go(
    window: Window, server: Server, brought: Path
) -> None:
    switch(server, "disable")
    window.reload()
    window.drop_on_prompt(brought)
    expect(window.messages("txt2img").last).to_contain_text("its values are kept, without effect")
    kept = window.page.locator(".a-extras[data-tab=txt2img] .a-kept")
    expect(kept).to_contain_text("without effect: the values of away, sketch")
    request = made(window, server)
    assert (request["ext"], request["absent_ext"]) == ({}, {"sketch": SKETCH, "away": AWAY})
    told = read_form(*read_texts(server.picture(window.made()[0]))).values
    assert (told["ext"], told["absent_ext"]) == ({}, {"sketch": SKETCH, "away": AWAY})

    switch(server, "enable")
    window.reload()
    sketch = window.page.locator(".a-extras[data-tab=txt2img] details[data-ext=sketch]")
    expect(sketch.locator(".a-badge")).to_have_text("on")
    expect(kept).to_contain_text("the values of away")
    request = made(window, server)
    assert (request["ext"], request["absent_ext"]) == ({"sketch": SKETCH}, {"away": AWAY})

    kept.get_by_role("button", name="Forget").click()
    expect(kept).to_have_count(0)
    request = made(window, server)
    assert (request["ext"], request["absent_ext"]) == ({"sketch": SKETCH}, {})


def test_reused_settings_bring_kept_values_back(window: Window, server: Server, brought: Path) -> None:
    window.drop_on_prompt(brought)
    kept = window.page.locator(".a-extras[data-tab=txt2img] .a-kept")
    expect(kept).to_contain_text("the values of away")
    made(window, server)
    kept.get_by_role("button", name="Forget").click()
    window.page.locator("#a-panel .a-reuse").click()
    expect(kept).to_contain_text("the values of away")


def test_twelve_units_are_added_drawn_and_come_back(window: Window, server: Server, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "teal.png")
    panel = window.page.locator(".a-control[data-tab=txt2img]")
    panel.locator("summary").first.click()
    for number in range(12):
        if number:
            panel.get_by_role("button", name="+ Add unit").click()
        panel.locator("input[type=file]").first.set_input_files(tmp_path / "teal.png")
        expect(panel.get_by_alt_text("Picture")).to_be_visible()
        panel.get_by_role("button", name="Canny", exact=True).click()
        box = panel.locator(".a-knob[data-id=weight] input[type=number]")
        box.fill(f"{0.1 + number / 20:.2f}")
        box.blur()
    expect(panel.get_by_role("tab")).to_have_count(12)
    expect(panel.locator("summary").first).to_contain_text("12 on")
    control = made(window, server)["control"]
    assert [unit["weight"] for unit in control] == [round(0.1 + number / 20, 2) for number in range(12)]
    expect(window.page.locator("#a-panel .a-report")).to_have_count(12)
    file = tmp_path / "made.png"
    file.write_bytes(server.picture(window.made()[0]))
    for _unit in range(12):
        panel.get_by_role("button", name="Remove", exact=True).click()
    expect(panel.get_by_role("tab")).to_have_count(1)
    window.drop_on_prompt(file)
    expect(panel.get_by_role("tab")).to_have_count(12)
    assert made(window, server)["control"] == control
