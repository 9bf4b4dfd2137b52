"""A job from the press of Generate to its picture: progress, result, interrupt, queue, reload, several windows."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import Server
from tests.browser.window import Window
from tests.fake_engine import prompt_mark

pytestmark = pytest.mark.browser


def test_generate_shows_progress_and_preview_then_the_saved_picture_with_its_text(
    window: Window, server: Server
) -> None:
    window.prompt("a red ball")
    window.number("steps", 100)
    now, left, source = window.watch("now"), window.watch("time"), window.watch("picture", "src")
    window.generate()
    (image_id,) = window.made()
    steps = [int(found[1]) for text in now() if (found := re.match(r"Step (\d+)/100", text))]
    assert steps == sorted(steps)
    assert len(set(steps)) > 3
    assert any(re.fullmatch(r"\d+ s left", text) for text in left())
    assert len({url for url in source() if "/preview.jpg" in url}) > 1
    expect(window.picture).to_have_attribute("src", f"/api/v1/images/{image_id}.png")
    picture = Image.open(io.BytesIO(server.picture(image_id)))
    assert picture.convert("RGB").getpixel((0, 0)) == prompt_mark("a red ball")
    expect(window.text).to_have_text(picture.text["parameters"])  # type: ignore[attr-defined]
    assert list(server.root.glob("outputs/txt2img-images/*/*.png"))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_preview_has_the_shape_of_the_pictures_of_a_batch_side_by_side(window: Window, batch: int) -> None:
    for field, value in {"steps": 1000, "width": 64, "height": 48, "batch_size": batch}.items():
        window.number(field, value)
    window.generate()
    live = window.page.locator("#a-panel .a-picture.a-live")
    expect(live).to_be_visible()
    assert live.evaluate("element => element.style.aspectRatio") == f"{64 * batch} / 48"
    window.page.keyboard.press("Escape")
    window.rests()


def test_every_declared_value_of_the_form_reaches_the_job(window: Window, server: Server) -> None:
    window.prompt("all of it")
    window.page.fill("#txt2img-negative_prompt textarea", "none of it")
    window.number("width", 72)
    window.number("height", 40)
    window.page.click("#txt2img-swap")
    for field, value in {"steps": 3, "cfg_scale": 4.5, "batch_size": 2, "n_iter": 2, "seed": 7}.items():
        window.number(field, value)
    window.generate()
    assert len(window.made(4)) == 4
    request = server.jobs()[0]["request"]
    wanted = {
        "prompt": "all of it", "negative_prompt": "none of it", "width": 40, "height": 72, "steps": 3,
        "cfg_scale": 4.5, "batch_size": 2, "n_iter": 2, "seed": 7, "model": "toybox", "eta": None,
    }  # fmt: skip
    assert wanted.items() <= request.items()


def test_interrupt_ends_the_job_within_a_step(window: Window) -> None:
    window.number("steps", 1000)
    window.generate()
    window.runs()
    window.page.click("#txt2img-interrupt")
    window.rests()
    assert window.states() == ["interrupted"]
    expect(window.messages("result").first).to_contain_text("Interrupted")


def test_skip_goes_on_with_the_next_batch(window: Window, server: Server) -> None:
    window.number("steps", 1000)
    window.number("n_iter", 2)
    window.generate()
    window.runs()
    window.page.keyboard.press("Alt+Enter")
    expect(window.page.locator("#a-panel .a-now")).to_contain_text("picture 2 of 2")
    window.page.click("#txt2img-skip")
    window.rests()
    assert window.states() == ["done"]


def test_presses_line_up_and_one_that_waits_can_be_taken_out(window: Window) -> None:
    for count, steps in enumerate((1000, 3, 4), start=1):
        window.number("steps", steps)
        window.generate()
        window.page.wait_for_function("count => atelier.jobs.waiting().length === count", arg=count)
    expect(window.page.locator("#a-panel .a-queue .a-chip")).to_have_count(2)
    window.page.locator("#a-panel .a-queue .a-close").first.click()
    expect(window.page.locator("#a-panel .a-queue .a-chip")).to_have_count(1)
    window.page.keyboard.press("Escape")
    window.rests()
    assert window.states() == ["interrupted", "interrupted", "done"]


def test_a_double_click_makes_one_job(window: Window, server: Server) -> None:
    before = len(server.jobs())
    window.page.dblclick("#txt2img-generate")
    window.made()
    assert len(server.jobs()) == before + 1


def test_a_wrong_number_is_told_under_generate_and_makes_no_job(window: Window, server: Server) -> None:
    before = len(server.jobs())
    window.number("width", "wide")
    window.number("height", 8)
    window.generate()
    expect(window.messages("txt2img")).to_contain_text(re.compile(r"Width: .*'wide'.*Height: .*16.*got 8", re.S))
    assert len(server.jobs()) == before
    window.number("width", "")
    window.number("height", "")
    window.generate()
    window.made()
    expect(window.messages("txt2img")).to_have_count(0)


def test_a_failed_job_tells_its_reason_and_the_next_one_works(window: Window) -> None:
    window.prompt("a ball raise@2")
    window.generate()
    expect(window.messages("result")).to_contain_text("a fault was asked for. Ask for none.")
    window.prompt("a ball exit@2")
    window.generate()
    expect(window.messages("result")).to_contain_text("exit code 7")
    expect(window.page.locator("#a-banner")).to_contain_text("being started again")
    window.prompt("a ball")
    window.generate()
    window.made()
    expect(window.messages("result")).to_have_count(0)
    assert window.states() == ["failed", "failed", "done"]


def test_a_reload_in_the_middle_of_a_job_finds_job_and_form_again(window: Window, server: Server) -> None:
    window.prompt("kept over the reload")
    window.number("steps", 1000)
    window.number("width", 48)
    window.generate()
    window.runs()
    before = len(server.jobs())
    window.reload()
    window.runs()
    window.has(prompt="kept over the reload", steps="1000", width="48")
    window.page.click("#txt2img-interrupt")
    (image_id,) = window.made()
    window.reload()
    expect(window.picture).to_have_attribute("src", f"/api/v1/images/{image_id}.png")
    expect(window.text).to_contain_text("kept over the reload")
    assert len(server.jobs()) == before


def test_two_windows_follow_their_own_jobs(new_window: Callable[[], Window], server: Server) -> None:
    first, second = new_window(), new_window()
    for window, prompt in ((first, "the first window"), (second, "the second window")):
        window.prompt(prompt)
        window.number("steps", 30)
        window.generate()
    for window, prompt in ((first, "the first window"), (second, "the second window")):
        (image_id,) = window.made()
        picture = Image.open(io.BytesIO(server.picture(image_id))).convert("RGB")
        assert picture.getpixel((0, 0)) == prompt_mark(prompt)
        expect(window.text).to_contain_text(prompt)


def test_closing_the_window_stops_nothing_and_another_one_can_follow(
    new_window: Callable[[], Window], server: Server
) -> None:
    first, second = new_window(), new_window()
    first.prompt("left alone")
    first.number("steps", 1000)
    first.generate()
    first.runs()
    first.page.close()
    second.tab("gallery")
    second.page.click("#a-gallery .a-pending")
    second.runs()
    second.page.keyboard.press("Escape")
    second.made()
    expect(second.text).to_contain_text("left alone")
