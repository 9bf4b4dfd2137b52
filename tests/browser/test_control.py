"""Control units and extensions in the page: draw, preview, generate, install, use, switch off, all without a reload."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import Server, Watched
from tests.browser.window import Window
from tests.steered import SKETCH, allow, write_control_model, write_extension

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the extension Sketch, a control model, and an extensions folder of its own."""
    root = tmp_path_factory.mktemp("control")
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
def picture(tmp_path: Path) -> Path:
    image = Image.new("RGB", (60, 40), "white")
    ImageDraw.Draw(image).rectangle((10, 10, 30, 30), fill="black")
    image.save(tmp_path / "square.png")
    return tmp_path / "square.png"


def panel(window: Window, tab: str = "txt2img") -> Locator:
    """The panel of control units, opened."""
    found = window.page.locator(f".a-control[data-tab={tab}]")
    found.locator("summary").first.wait_for()
    if found.locator("details").first.get_attribute("open") is None:
        found.locator("summary").first.click()
    return found


def press(place: Locator, name: str) -> None:
    place.get_by_role("button", name=name, exact=True).click()


def load(unit: Locator, picture: Path) -> None:
    unit.locator("input[type=file]").first.set_input_files(picture)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()


def set_number(unit: Locator, name: str, value: float) -> None:
    box = unit.locator(f".a-knob[data-id={name}] input[type=number]")
    box.fill(str(value))
    box.blur()


def test_a_unit_goes_from_its_picture_over_the_map_to_the_job_and_tells_what_it_did(
    window: Window, server: Server, picture: Path
) -> None:
    unit = panel(window)
    load(unit, picture)
    press(unit, "Canny")
    unit.locator(".a-knob[data-id=preprocessor] select").select_option("lines")
    set_number(unit, "low", 30)
    press(unit, "Preview map")
    expect(unit.get_by_alt_text("The map")).to_be_visible()
    press(unit, "What the model sees")
    expect(unit.get_by_text("What the model sees · 64 × 64")).to_be_visible()
    set_number(unit, "weight", 0.5)
    set_number(unit, "end", 0.5)
    unit.get_by_role("radio", name="My prompt is more important").click()
    window.number("steps", 4)
    window.generate()
    window.made()
    (sent,) = server.jobs()[0]["request"]["control"]
    wanted = {
        "enabled": True, "preprocessor": "lines", "model": "tiny-canny", "weight": 0.5, "end": 0.5,
        "params": {"low": 30, "high": 200, "thick": False}, "mode": "My prompt is more important",
    }  # fmt: skip
    assert {name: sent[name] for name in wanted} == wanted
    kept = Image.open(server.input(sent["image"]["sha256"]))
    assert kept.size == (60, 40)
    report = window.page.locator("#a-panel .a-report")
    expect(report.get_by_text("Unit 1: lines")).to_be_visible()
    expect(report.locator("rect")).to_have_count(3)
    expect(report.get_by_alt_text("Map of unit 1")).to_be_visible()
    expect(window.text).to_contain_text('ControlNet 0: "Module: lines')


def test_a_unit_without_a_picture_refuses_the_job_and_says_so(window: Window, server: Server) -> None:
    before = len(server.jobs())
    unit = panel(window)
    unit.get_by_label("Enable").check()
    press(unit, "Preview map")
    expect(window.messages("txt2img")).to_contain_text("This unit has no picture yet.")
    press(unit, "Canny")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("Control unit 1, image: there is none.")
    assert len(server.jobs()) == before


def test_units_are_added_removed_and_kept_over_a_reload(window: Window, picture: Path) -> None:
    unit = panel(window)
    load(unit, picture)
    press(unit, "+ Add unit")
    expect(unit.get_by_role("tab")).to_have_count(2)
    set_number(unit, "weight", 1.5)
    window.reload()
    unit = panel(window)
    expect(unit.get_by_role("tab")).to_have_count(2)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    unit.get_by_role("tab").nth(1).click()
    expect(unit.locator(".a-knob[data-id=weight] input[type=number]")).to_have_value("1.5")
    press(unit, "Remove")
    expect(unit.get_by_role("tab")).to_have_count(1)


def test_a_unit_of_one_window_does_not_touch_the_other(
    new_window: Callable[[], Window], server: Server, picture: Path
) -> None:
    first, second = new_window(), new_window()
    unit = panel(first)
    load(unit, picture)
    press(unit, "Canny")
    for window in (second, first):
        window.generate()
        window.made()
    with_units = [len(view["request"]["control"]) for view in server.jobs()[:2]]
    assert with_units == [1, 0]


def paint_across(window: Window) -> None:
    """A stroke over the middle of the canvas, and its use."""
    board = window.page.locator(".a-paint .a-board")
    box = board.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    window.page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    window.page.mouse.down()
    window.page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=5)
    window.page.mouse.up()
    press(window.page.locator(".a-paint"), "Use it")


def held(window: Window, server: Server, name: str) -> Image.Image:
    sha = window.evaluate("name => JSON.parse(sessionStorage.getItem('atelier/control/txt2img'))[0][name]", name)
    return Image.open(io.BytesIO(httpx.get(f"{server.url}/api/v1/inputs/{sha}.png").content)).convert("L")


def test_a_drawing_becomes_the_picture_and_an_edited_map_too(window: Window, server: Server) -> None:
    window.number("width", 96)
    window.number("height", 64)
    unit = panel(window)
    press(unit, "Draw")
    paint_across(window)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    drawn = held(window, server, "image")
    assert drawn.size == (96, 64)
    assert (drawn.getpixel((48, 32)), drawn.getpixel((48, 4)), drawn.getpixel((4, 32))) == (255, 0, 0)
    press(unit, "Canny")
    press(unit, "Preview map")
    expect(unit.get_by_alt_text("The map")).to_be_visible()
    press(unit, "Edit")
    paint_across(window)
    expect(unit.locator(".a-knob[data-id=preprocessor] select")).to_have_value("none")
    edited = held(window, server, "image")
    assert (edited.getpixel((48, 32)), edited.getpixel((48, 4))) == (255, 255)  # the negative, and a white stroke


def test_a_region_is_painted_over_the_picture_and_escape_changes_nothing(
    window: Window, server: Server, picture: Path
) -> None:
    unit = panel(window)
    load(unit, picture)
    unit.get_by_text("Masks and more").click()
    unit.get_by_role("button", name="Paint", exact=True).first.click()
    paint_across(window)
    expect(unit.get_by_alt_text("Where it acts")).to_be_visible()
    mask = held(window, server, "region_mask")
    assert mask.size == (60, 40)
    assert (mask.getpixel((30, 20)), mask.getpixel((30, 2))) == (255, 0)
    unit.get_by_role("button", name="Paint", exact=True).first.click()
    window.page.locator(".a-paint .a-board").wait_for()
    window.page.keyboard.press("Escape")
    expect(window.page.locator(".a-paint")).to_have_count(0)
    assert held(window, server, "region_mask").tobytes() == mask.tobytes()


def test_a_zoomed_canvas_is_painted_where_the_pointer_is(window: Window, server: Server) -> None:
    window.number("width", 96)
    window.number("height", 64)
    unit = panel(window)
    press(unit, "Draw")
    board = window.page.locator(".a-paint .a-board")
    whole = board.bounding_box()
    assert whole is not None
    window.page.mouse.move(whole["x"] + whole["width"] / 2, whole["y"] + whole["height"] / 2)
    window.page.mouse.wheel(0, -100)
    wider = "was => document.querySelector('.a-paint .a-board').offsetWidth > was * 1.19"
    window.page.wait_for_function(wider, arg=whole["width"])
    paint_across(window)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    rows, columns = np.asarray(held(window, server, "image")).nonzero()
    expected = (24 - 4, 32 - 4, 72 + 4, 32 + 4)  # 4: the brush's radius
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(box, expected)).max() <= 2


def test_img2img_gives_its_own_picture_to_a_unit_without_one(window: Window, server: Server, picture: Path) -> None:
    window.tab("img2img")
    window.page.set_input_files("#img2img-image input[type=file]", picture)
    expect(window.page.locator("#img2img-image img")).to_be_visible()
    unit = panel(window, "img2img")
    unit.get_by_label("Enable").check()
    press(unit, "Canny")
    press(unit, "What the model sees")
    expect(unit.get_by_text("What the model sees · 60 × 40")).to_be_visible()
    window.generate("img2img")
    window.made()
    assert server.jobs()[0]["request"]["control"][0]["image"] is None


def test_the_resize_mode_of_a_unit_can_be_chosen_only_where_it_counts(window: Window, picture: Path) -> None:
    window.tab("img2img")
    unit = panel(window, "img2img")
    modes = unit.get_by_role("radiogroup", name="Resize mode")
    reason = unit.get_by_text("The Resize mode of this tab holds: the unit has no picture of its own.")
    expect(reason).to_be_visible()
    expect(modes.get_by_role("radio", disabled=True)).to_have_count(3)
    expect(modes.get_by_role("radio", checked=True)).to_have_count(0)
    load(unit, picture)
    expect(reason).to_have_count(0)
    expect(modes.get_by_role("radio", name="Crop and Resize")).to_be_checked()
    modes.get_by_role("radio", name="Just Resize").click()
    expect(modes.get_by_role("radio", name="Just Resize")).to_be_checked()
    window.tab("txt2img")
    plain = panel(window).get_by_role("radiogroup", name="Resize mode")
    expect(plain.get_by_role("radio", disabled=True)).to_have_count(0)


def test_what_the_model_sees_in_inpaint_is_asked_with_the_form_and_the_mask_of_the_job(
    window: Window, server: Server, picture: Path
) -> None:
    window.tab("inpaint")
    window.load_into_editor(picture)
    window.number("padding", 8, "inpaint")
    window.page.click("#inpaint-inpaint_area input")
    window.page.get_by_role("option", name="Only masked").click()
    unit = panel(window, "inpaint")
    unit.get_by_label("Enable").check()
    press(unit, "Canny")
    press(unit, "What the model sees")
    expect(window.messages("inpaint")).to_contain_text("Nothing is painted on the picture")
    window.page.locator("#inpaint-editor canvas").first.scroll_into_view_if_needed()
    window.paint((60, 40), (20, 10), (40, 10))
    with window.page.expect_request("**/api/v1/preprocess", timeout=8000) as asked:
        press(unit, "What the model sees")
    expect(unit.get_by_text("What the model sees · 60 × 40")).to_be_visible()
    window.generate("inpaint")
    window.made()
    told, sent = asked.value.post_data_json["tab"], server.jobs()[0]["request"]
    followed = ("kind", "resize_mode", "mask_blur", "mask_invert", "inpaint_area", "padding")
    assert {name: told[name] for name in followed} == {name: sent[name] for name in followed}
    assert (told["inpaint_area"], told["padding"]) == ("Only masked", 8)
    for name in ("init_image", "mask"):
        ours, theirs = (Image.open(server.input(one[name]["sha256"])).convert("L") for one in (told, sent))
        assert ours.tobytes() == theirs.tobytes(), name


def test_the_model_files_of_a_preprocessor_that_is_used_are_asked_for_too(window: Window) -> None:
    unit = panel(window)
    press(unit, "NormalMap")
    select = unit.locator(".a-knob[data-id=preprocessor] select")
    select.select_option("normal_midas")
    wanted = unit.locator(".a-wanted")
    expect(wanted).to_have_text(re.compile("Model file not here yet: dpt_hybrid_midas, 490 MB.*Fetch"))
    expect(select.locator("option[value=normal_midas]")).to_have_text(re.compile("⚠$"))
    select.select_option("normal_depth")
    expect(wanted).to_contain_text("depth_anything_v2_small")
    unit.locator(".a-knob[data-id=estimator] select").select_option("depth_zoe")
    expect(wanted).to_contain_text("zoedepth_nyu_kitti")
    press(unit, "Canny")
    expect(wanted).to_have_count(0)


def test_a_dropped_picture_brings_its_units_back(window: Window, server: Server, picture: Path, tmp_path: Path) -> None:
    unit = panel(window)
    load(unit, picture)
    press(unit, "Canny")
    set_number(unit, "low", 44)
    window.generate()
    (image_id,) = window.made()
    file = tmp_path / "made.png"
    file.write_bytes(server.picture(image_id))
    press(unit, "Remove")
    window.drop_on_prompt(file)
    expect(unit.locator(".a-knob[data-id=low] input[type=number]")).to_have_value("44")
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    expect(unit.get_by_label("Enable")).to_be_checked()


def test_an_extension_is_installed_used_and_switched_off_without_a_restart(
    window: Window, server: Server, tmp_path: Path
) -> None:
    text = SKETCH.replace('"sketch"', '"glow"').replace('"Sketch"', '"Glow"').replace('"lines"', '"halo"')
    folder = write_extension(tmp_path / "glow", text.replace('"Sketching"', '"Glowing"').replace('"Lines"', '"Halo"'))
    window.evaluate("() => void (window.sameWindow = true)")
    window.number("width", 96)
    window.number("height", 64)
    window.tab("extensions")
    page = window.page
    page.fill("#a-extensions-source", str(folder))
    page.get_by_role("button", name="Install", exact=True).click()
    card = page.locator(".a-ext[data-id=glow]")
    expect(card).to_contain_text("nobody has allowed it yet")
    press(card, "Allow")
    expect(card.locator(".a-ext-head .a-badge")).to_have_text("On")

    window.tab("txt2img")
    accordion = page.locator(".a-extras[data-tab=txt2img] details[data-ext=glow]")
    accordion.locator("summary").click()
    accordion.locator(".a-knob[data-id=ink] select").select_option("blue")
    expect(accordion.locator(".a-badge")).to_have_text("on")
    unit = panel(window)
    press(unit, "Draw")
    paint_across(window)
    expect(unit.get_by_alt_text("Picture")).to_be_visible()
    press(unit, "Canny")
    preprocessor = unit.locator(".a-knob[data-id=preprocessor] select")
    preprocessor.select_option("halo")
    set_number(unit, "low", 21)
    press(unit, "Preview map")
    expect(unit.get_by_alt_text("The map")).to_be_visible()
    window.generate()
    window.made()
    request = server.jobs()[0]["request"]
    assert request["ext"] == {"glow": {"strength": 0.5, "ink": "blue"}}
    (sent,) = request["control"]
    assert (sent["preprocessor"], sent["params"]) == ("halo", {"low": 21, "high": 200, "thick": False})
    assert Image.open(server.input(sent["image"]["sha256"])).size == (96, 64)
    expect(page.locator("#a-panel .a-report").get_by_text("Unit 1: halo")).to_be_visible()

    window.tab("extensions")
    press(card, "Turn off")
    expect(card.locator(".a-ext-head .a-badge")).to_have_text("Off")
    window.tab("txt2img")
    expect(accordion).to_have_count(0)
    expect(preprocessor.locator("option[value=halo]")).to_have_text("halo (not here)")
    window.generate()
    expect(window.messages("txt2img")).to_contain_text("there is no 'halo'")
    unit.get_by_label("Enable").uncheck()
    window.generate()
    page.wait_for_function("atelier.result.pictures().length >= 2 && !atelier.jobs.waiting().length")
    request = server.jobs()[0]["request"]
    assert (request["ext"], request["control"]) == ({}, [])
    assert window.evaluate("window.sameWindow")
