"""The pose editor with the real engine, which finds nothing itself here: it draws what was edited."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import ROOT, Server, Watched
from tests.browser.test_control import load, panel, press, set_number
from tests.browser.window import Window
from tests.control.small import write
from tests.extensions.support import run
from tests.nn.weights import randomise
from tests.steered import TOYBOX, allow
from webui.checkpoints.detect import detect_config
from webui.checkpoints.header import read_header
from webui.nn.controlnet import ControlNet, ControlNetConfig

pytestmark = pytest.mark.browser

MANIFEST = """
[extension]
id = "stick"
name = "Stick"
version = "1.0.0"
api = "1"
description = "Finds the same person in every picture."

[dependencies]
extensions = ["pose"]

[[preprocessor]]
id = "stick"
label = "Stick"
group = "OpenPose"
entry = "main:stick"
kind = "pose"
resolution = 96
"""
CODE = """
import json

def stick(image, *, ctx):
    height, width = image.shape[:2]
    joints = [value for at in range(18) for value in ((0.3 + 0.02 * at) * width, (0.1 + 0.04 * at) * height, 0.75)]
    pose = {"people": [{"pose_keypoints_2d": joints}], "canvas_width": width, "canvas_height": height}
    return ctx.preprocess("openpose_json", image, pose=json.dumps(pose))
"""
NOSE, NECK, LEFT_WRIST, LEFT_EAR = 0, 1, 7, 17


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("pose")
    models = root / "models" / "Stable-diffusion"
    models.mkdir(parents=True)
    (models / "toybox.safetensors").symlink_to(ROOT / "models" / "Stable-diffusion" / "toybox.safetensors")
    write_net(root / "models")
    folder = root / "extensions" / "stick"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text(MANIFEST)
    (folder / "main.py").write_text(CODE)
    allow(root / "data", "stick")
    one = Server(root, "webui", options=(f"--extensions-dir={root / 'extensions'}",))
    one.start()
    yield one
    one.stop()


def write_net(models: Path) -> None:
    """A ControlNet for Toybox with random weights."""
    config = detect_config(read_header(TOYBOX))
    net = randomise(ControlNet(ControlNetConfig(config.unet, hint_widths=(4, 8, 12, 20))), seed=1)
    write(models / "ControlNet" / "tiny-pose.safetensors", net.state_dict(), config.unet, config.family)


@pytest.fixture(scope="module")
def watched(browser: Browser, server: Server) -> Watched:
    one = Watched(browser, server)
    one.context.set_default_timeout(120_000)
    return one


@pytest.fixture
def unit(window: Window) -> Locator:
    """The unit of a window, of the type OpenPose, drawing a pose that is not there yet."""
    found = panel(window)
    press(found, "OpenPose")
    choose(found, "openpose_json")
    return found


def choose(unit: Locator, preprocessor: str) -> None:
    unit.locator(".a-knob[data-id=preprocessor] select").select_option(preprocessor)


def edit(unit: Locator) -> Locator:
    """The opened editor."""
    press(unit, "Edit joints")
    dialog = unit.page.get_by_role("dialog", name="Edit joints")
    dialog.locator(".a-joint").first.wait_for()
    return dialog


def use(dialog: Locator, unit: Locator) -> None:
    press(dialog, "Use it")
    expect(unit.get_by_alt_text("The map")).to_be_visible()


def joint(dialog: Locator, at: int, person: int = 0) -> Locator:
    return dialog.locator(f"[data-key='{person}-{at}']")


def middle(place: Locator) -> tuple[float, float]:
    box = place.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(place: Locator, right: float, down: float) -> None:
    """With the mouse, by pixels of the screen."""
    mouse, (x, y) = place.page.mouse, middle(place)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + right, y + down, steps=4)
    mouse.up()


def scale(dialog: Locator) -> float:
    """Pixels of the map in one of the screen."""
    width = dialog.locator("svg").get_attribute("viewBox")
    box = dialog.locator("svg").bounding_box()
    assert width is not None
    assert box is not None
    return float(width.split()[2]) / box["width"]


def held(window: Window) -> Any:
    return window.evaluate("JSON.parse(sessionStorage.getItem('atelier/control/txt2img'))[0]")


def pose_of(window: Window) -> dict[str, Any]:
    return json.loads(held(window)["params"]["pose"])


def joints_of(pose: dict[str, Any], person: int = 0) -> np.ndarray:
    return np.array(pose["people"][person]["pose_keypoints_2d"]).reshape(18, 3)


def picture_of(server: Server, sha256: str) -> np.ndarray:
    data = httpx.get(f"{server.url}/api/v1/inputs/{sha256}.png").content
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def drawn(pose: dict[str, Any]) -> np.ndarray:
    """What the extension Pose draws of it."""
    canvas = np.zeros((pose["canvas_height"], pose["canvas_width"], 3), np.uint8)
    return run("pose", canvas, as_="openpose_json", pose=json.dumps(pose)).image


def test_a_standing_figure_is_dragged_and_the_engine_draws_it_without_any_picture(
    window: Window, unit: Locator, server: Server, tmp_path: Path
) -> None:
    window.number("width", 128)
    window.number("height", 192)
    dialog = edit(unit)
    ratio = scale(dialog)
    drag(joint(dialog, LEFT_WRIST), 40, -90)
    use(dialog, unit)
    pose = pose_of(window)
    assert (pose["canvas_width"], pose["canvas_height"]) == (512, 768)
    elbow, wrist = joints_of(pose)[[6, 7], :2]
    expected = np.array([40, -90]) * ratio + [0.015 * 691.2, 0.15 * 691.2]  # below the elbow, in a body of 0.9 * 768
    assert np.abs(wrist - elbow - expected).max() < 2.5 * ratio
    unit_held = held(window)
    assert (unit_held["image"], unit_held["enabled"], unit_held["map"]["width"]) == ("", True, 512)
    assert np.array_equal(picture_of(server, unit_held["map"]["sha"]), drawn(pose))

    window.number("steps", 2)
    window.generate()
    (image_id,) = window.made()
    job = server.jobs()[0]
    assert job["request"]["control"][0]["params"] == {"pose": json.dumps(pose, separators=(",", ":"))}
    assert np.array_equal(picture_of(server, job["maps"][0]["sha256"]), drawn(pose))

    made = tmp_path / "made.png"
    made.write_bytes(server.picture(image_id))
    press(unit, "Remove")
    window.drop_on_prompt(made)
    expect(unit.get_by_label("Enable")).to_be_checked()
    dialog = edit(unit)
    use(dialog, unit)
    assert pose_of(window) == pose


def test_who_was_found_is_dragged_and_the_map_changes_by_what_was_dragged(
    window: Window, unit: Locator, server: Server, tmp_path: Path
) -> None:
    Image.new("RGB", (85, 65), "teal").save(tmp_path / "wall.png")
    load(unit, tmp_path / "wall.png")
    choose(unit, "stick")
    expect(unit.locator(".a-knob[data-id=resolution] input[type=number]")).to_have_value("96")  # as it declares
    set_number(unit, "resolution", 200)
    press(unit, "Preview map")
    expect(unit.get_by_text("Map · 262 × 200")).to_be_visible()
    found = json.loads(held(window)["map"]["pose"])
    assert (found["canvas_width"], found["canvas_height"]) == (262, 200)
    dialog = edit(unit)
    expect(dialog.locator(".a-pose-board img")).to_be_visible()
    drag(joint(dialog, NOSE), -30, 12)
    use(dialog, unit)
    pose = pose_of(window)
    expect(unit.locator(".a-knob[data-id=preprocessor] select")).to_have_value("openpose_json")
    before, after = joints_of(found), joints_of(pose)
    assert np.allclose(before[1:], after[1:], atol=1e-3)
    assert after[0, 0] < before[0, 0] - 3
    assert after[0, 1] > before[0, 1]
    assert held(window)["image"]
    assert np.array_equal(picture_of(server, held(window)["map"]["sha"]), drawn(pose))


def test_joints_go_off_and_on_people_come_and_go_and_all_of_it_is_taken_back(window: Window, unit: Locator) -> None:
    dialog = edit(unit)
    keyboard = window.page.keyboard
    joint(dialog, LEFT_EAR).dblclick()
    chip = dialog.get_by_role("group", name="Joints that are on").get_by_role("button", name="Left ear")
    expect(chip).to_have_attribute("aria-pressed", "false")
    keyboard.press("Delete")
    expect(chip).to_have_attribute("aria-pressed", "true")
    keyboard.press("Delete")
    press(dialog, "+ Person")
    expect(dialog.locator(".a-person")).to_have_count(2)
    press(dialog, "Mirror")
    press(dialog, "Larger")
    press(dialog, "Remove")
    expect(dialog.locator(".a-person")).to_have_count(1)
    keyboard.press("Control+z")
    expect(dialog.locator(".a-person")).to_have_count(2)
    for _ in range(3):
        press(dialog, "Undo")
    expect(dialog.locator(".a-person")).to_have_count(1)
    press(dialog, "Redo")
    use(dialog, unit)
    pose = pose_of(window)
    assert len(pose["people"]) == 2
    assert joints_of(pose)[:, 2].tolist() == [1] * 17 + [0]
    assert joints_of(pose, 1)[:, 2].all()


def test_the_arrow_keys_move_the_joint_that_has_the_focus(window: Window, unit: Locator) -> None:
    use(edit(unit), unit)
    before = joints_of(pose_of(window))
    dialog = edit(unit)
    joint(dialog, NOSE).focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown"):
        window.page.keyboard.press(key)
    use(dialog, unit)
    after = joints_of(pose_of(window))
    assert np.allclose(after - before, np.eye(18)[:, :1] @ [[2, 10, 0]], atol=2e-3)


def test_escape_leaves_everything_as_it_was(window: Window, server: Server, unit: Locator) -> None:
    jobs = len(server.jobs())
    use(edit(unit), unit)
    before = held(window)
    dialog = edit(unit)
    drag(joint(dialog, NOSE), 50, 50)
    press(dialog, "+ Person")
    window.page.keyboard.press("Control+Enter")
    expect(dialog).to_be_visible()
    window.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert held(window) == before
    assert len(server.jobs()) == jobs  # Ctrl+Enter generates nothing behind a dialog


def test_a_pose_is_exported_and_imported_as_a_file_and_pasted(window: Window, unit: Locator, tmp_path: Path) -> None:
    hand = [value for point in range(21) for value in (100.5 + point, 90.25, 1)]
    body = [value for at in range(18) for value in ((20.5 + 5 * at, 40 + 4 * at, 0.5) if at != 3 else (0, 0, 0))]
    person = {
        "pose_keypoints_2d": body, "face_keypoints_2d": None, "hand_left_keypoints_2d": hand,
        "hand_right_keypoints_2d": None,
    }  # fmt: skip
    pose = {"people": [person], "canvas_height": 512, "canvas_width": 512}
    file = tmp_path / "pose.json"
    file.write_text(json.dumps(pose))
    dialog = edit(unit)
    dialog.get_by_label("Pose JSON").set_input_files(file)
    expect(dialog.get_by_role("button", name="Left hand")).to_be_visible()
    with window.page.expect_download() as download:
        press(dialog, "Export")
    assert download.value.suggested_filename == "pose.json"
    assert json.loads(download.value.path().read_text()) == pose

    press(dialog, "Remove")
    expect(dialog.get_by_role("button", name="Use it")).to_be_disabled()
    paste(window, "no pose")
    expect(dialog.get_by_role("status")).to_contain_text("This is no JSON.")
    paste(window, json.dumps({"people": [{"pose_keypoints_2d": [1, 2]}]}))
    expect(dialog.get_by_role("status")).to_contain_text("pose_keypoints_2d does not hold")
    expect(dialog.locator(".a-person")).to_have_count(0)
    paste(window, json.dumps(pose | {"canvas_height": 1024, "canvas_width": 1024}))
    expect(dialog.locator(".a-person")).to_have_count(1)
    use(dialog, unit)
    assert np.allclose(joints_of(pose_of(window))[:, :2] * 2, np.reshape(body, (18, 3))[:, :2], atol=2e-3)


def test_a_file_that_is_read_when_the_editor_is_closed_changes_nothing(
    window: Window, unit: Locator, tmp_path: Path
) -> None:
    (tmp_path / "pose.json").write_text('{"people": []}')
    window.evaluate("() => { File.prototype.text = () => new Promise((done) => (window.read = () => done('{}'))); }")
    dialog = edit(unit)
    before = held(window)
    dialog.get_by_label("Pose JSON").set_input_files(tmp_path / "pose.json")
    window.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    dialog = edit(unit)
    window.evaluate("() => window.read()")
    expect(dialog.locator(".a-person")).to_have_count(1)
    expect(dialog.locator(".a-pose-note")).to_have_text("")
    window.page.keyboard.press("Escape")
    window.evaluate("() => window.read()")
    assert held(window) == before


def test_the_board_of_the_editor_is_zoomed_and_its_joints_are_dragged_there_too(window: Window, unit: Locator) -> None:
    use(edit(unit), unit)
    before = joints_of(pose_of(window))
    dialog = edit(unit)
    whole = scale(dialog)
    press(dialog, "Zoom in")
    ratio = scale(dialog)
    assert ratio == pytest.approx(whole / 1.2, rel=0.01)
    drag(joint(dialog, NECK), 20, -10)
    use(dialog, unit)
    moved = joints_of(pose_of(window))[NECK, :2] - before[NECK, :2]
    assert np.abs(moved - np.array([20, -10]) * ratio).max() < 2.5 * ratio


def paste(window: Window, text: str) -> None:
    """As Ctrl+V does."""
    window.evaluate(
        """text => {
            const data = new DataTransfer();
            data.setData("text/plain", text);
            const target = document.querySelector(".a-paint");
            target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        text,
    )


@pytest.mark.parametrize("given", [
    {"canvas_width": 512, "canvas_height": 512}, {"canvas_width": 300, "canvas_height": 900}, {},
    {"canvas_width": 1000, "canvas_height": 700, "shares": True},
])  # fmt: skip
def test_the_editor_reads_a_pose_as_the_extension_does(window: Window, given: dict[str, Any]) -> None:
    shares = given.pop("shares", False)
    across, down = (1, 1) if shares else (given.get("canvas_width", 200), given.get("canvas_height", 120))
    joints = [value for at in range(18) for value in (across * (0.1 + 0.04 * at), down * (0.95 - 0.03 * at), at % 4)]
    face = [value for at in range(68) for value in (across * 0.5, down * 0.001 * at, 0.5)]
    people = [{"pose_keypoints_2d": joints, "face_keypoints_2d": face}, {"hand_right_keypoints_2d": face[:63]}]
    text = json.dumps(given | {"people": people})
    found = window.evaluate("text => atelier.pose.write(atelier.pose.read(text, 200, 120), 200, 120)", text)
    canvas = np.zeros((120, 200, 3), np.uint8)
    expected = run("pose", canvas, as_="openpose_json", pose=text).data
    ours = json.loads(found)
    assert (ours["canvas_width"], ours["canvas_height"]) == (200, 120)
    for one, other in zip(ours["people"], expected["people"], strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert (one[name] is None) == (other[name] is None)
            assert np.allclose(one[name] or [], other[name] or [], atol=2e-3)


def test_a_finger_drags_joints_on_a_phone(browser: Browser, server: Server) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, base_url=server.url, has_touch=True)
    context.set_default_timeout(120_000)
    window = Window.open(context.new_page())
    unit = panel(window)
    press(unit, "OpenPose")
    choose(unit, "openpose_json")
    dialog = edit(unit)
    ratio, (x, y) = scale(dialog), middle(joint(dialog, LEFT_WRIST))
    touch = context.new_cdp_session(window.page)
    for kind, point in (
        ("touchStart", (x + 8, y + 8)), ("touchMove", (x + 20, y - 20)), ("touchMove", (x + 38, y - 42)),
        ("touchEnd", None),
    ):  # fmt: skip
        points = [] if point is None else [{"x": point[0], "y": point[1]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    box = dialog.bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 800}
    expect(dialog.get_by_role("button", name="Use it")).to_be_in_viewport(ratio=1)
    use(dialog, unit)
    elbow, wrist = joints_of(pose_of(window))[[6, 7], :2]
    expected = np.array([30, -50]) * ratio + [0.015 * 460.8, 0.15 * 460.8]
    assert np.abs(wrist - elbow - expected).max() < 2.5 * ratio
    context.close()
