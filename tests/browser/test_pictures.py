"""Pictures that a job starts from: img2img, the mask painted with the mouse, masks uploaded, files that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import Server
from tests.browser.window import PAINT, Window
from webui.ui.tab_inpaint import brush_for

pytestmark = pytest.mark.browser

SIZE = (400, 300)
RADIUS = brush_for((512, 512)).default_size


@pytest.fixture
def window(window: Window) -> Window:
    """A small window: without a graphics card every stroke on a large canvas takes its time."""
    window.page.set_viewport_size({"width": 900, "height": 800})
    return window


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An opaque picture of noise."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.random.default_rng(5).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def mask_of(server: Server, job: dict) -> np.ndarray:
    """The mask (h w) of an inpaint job."""
    return np.asarray(Image.open(server.input(job["request"]["mask"]["sha256"])).convert("L"))


def count_uploads(page: Page) -> list[str]:
    """Grows by one with each file that the page sends from now on."""
    uploads: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/gradio_api/upload"):
            uploads.append(request.url)

    page.on("request", note)
    return uploads


def test_img2img_starts_from_the_picture_loaded_at_its_own_size(window: Window, server: Server, photo: Path) -> None:
    window.tab("img2img")
    window.generate("img2img")
    expect(window.messages("img2img")).to_contain_text("There is no picture yet.")
    window.page.set_input_files("#img2img-image input[type=file]", photo)
    window.page.wait_for_selector("#img2img-image img")
    window.number("steps", 3, "img2img")
    window.generate("img2img")
    window.made()
    expect(window.messages("img2img")).to_have_count(0)
    request = server.jobs()[0]["request"]
    assert (request["width"], request["height"]) == SIZE
    assert np.array_equal(pixels_of(server.input(request["init_image"]["sha256"])), pixels_of(photo))


def test_a_result_goes_over_to_img2img_and_inpaint_with_its_words(window: Window, server: Server) -> None:
    window.prompt("a picture to send")
    window.number("steps", 4)
    window.generate()
    (image_id,) = window.made()
    window.page.click("#a-panel .a-send-img2img")
    window.page.wait_for_selector("#img2img-image img")
    window.has("img2img", prompt="a picture to send", steps="4")
    window.generate("img2img")
    window.made(2)
    sent = server.input(server.jobs()[0]["request"]["init_image"]["sha256"])
    assert np.array_equal(pixels_of(sent), np.asarray(_picture(server, image_id)))
    window.page.click("#a-panel .a-send-inpaint")
    window.editor_has_picture()
    size = (64, 64)
    window.paint(size, (20, 32), (44, 32))
    window.generate("inpaint")
    window.made(3)
    assert mask_of(server, server.jobs()[0]).shape == (64, 64)


def _picture(server: Server, image_id: str) -> Image.Image:
    path = server.root / "from-server.png"
    path.write_bytes(server.picture(image_id))
    return Image.open(path).convert("RGB")


def test_the_mask_is_what_the_mouse_painted(window: Window, server: Server, photo: Path) -> None:
    window.tab("inpaint")
    window.load_into_editor(photo)
    uploads = count_uploads(window.page)
    window.number("steps", 2, "inpaint")
    window.paint(SIZE, (120, 150), (280, 150))
    assert uploads == []
    window.generate("inpaint")
    window.made()
    assert len(uploads) == 3
    job = server.jobs()[0]
    mask = mask_of(server, job)
    rows, columns = mask.nonzero()
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(box, (120 - RADIUS, 150 - RADIUS, 280 + RADIUS, 150 + RADIUS))).max() <= 2
    assert mask.shape == (SIZE[1], SIZE[0])
    assert set(np.unique(mask)) == {0, 255}
    stadium = np.pi * RADIUS**2 + 2 * RADIUS * 160
    assert abs(len(rows) / stadium - 1) <= 0.02
    background = server.input(job["request"]["init_image"]["sha256"])
    assert np.array_equal(pixels_of(background), pixels_of(photo))

    window.generate("inpaint")
    window.made(2)
    assert len(uploads) == 6
    again = server.jobs()[0]
    assert again["id"] != job["id"]
    assert again["request"]["mask"] == job["request"]["mask"]
    assert again["request"]["init_image"] == job["request"]["init_image"]

    window.tab("txt2img")
    window.number("steps", 2)
    window.generate()
    window.made(3)
    assert len(uploads) == 6  # events of other tabs leave the editor alone


def test_the_eraser_takes_paint_away_and_undo_leaves_nothing_to_repaint(
    window: Window, server: Server, photo: Path
) -> None:
    window.tab("inpaint")
    window.load_into_editor(photo)
    window.number("steps", 2, "inpaint")
    window.paint(SIZE, (120, 150), (280, 150))
    window.page.click(f"{PAINT} button[aria-label='Erase']")
    window.paint(SIZE, (260, 150), (310, 150))
    window.generate("inpaint")
    window.made()
    middle = mask_of(server, server.jobs()[0])[150].nonzero()[0]
    assert abs(middle.min() - (120 - RADIUS)) <= 2
    assert abs(middle.max() - (260 - RADIUS)) <= 2
    before = len(server.jobs())
    window.page.click(f"{PAINT} button[aria-label='Undo']")
    window.page.click(f"{PAINT} button[aria-label='Undo']")
    window.generate("inpaint")
    expect(window.messages("inpaint")).to_contain_text("Nothing is painted on the picture.")
    assert len(server.jobs()) == before


def test_a_mask_can_be_uploaded_and_must_fit_the_picture(
    window: Window, server: Server, photo: Path, tmp_path: Path
) -> None:
    small, fitting = tmp_path / "small.png", tmp_path / "fitting.png"
    Image.new("L", (64, 64), 255).save(small)
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    mask[50:100, 60:90] = 255
    Image.fromarray(mask).save(fitting)
    window.tab("inpaint")
    window.load_into_editor(photo)
    window.number("steps", 2, "inpaint")
    window.page.click("#inpaint-mask-upload button")
    window.page.set_input_files("#inpaint-mask input[type=file]", small)
    window.page.wait_for_selector("#inpaint-mask img")
    window.generate("inpaint")
    expect(window.messages("inpaint")).to_contain_text("mask")
    window.page.click("#inpaint-mask button[aria-label='Remove Image']")
    window.page.set_input_files("#inpaint-mask input[type=file]", fitting)
    window.page.wait_for_selector("#inpaint-mask img")
    window.generate("inpaint")
    window.made()
    assert np.array_equal(mask_of(server, server.jobs()[0]), mask)


def test_files_that_are_no_usable_picture_get_one_readable_sentence(window: Window, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + hashlib.sha256(b"").digest())
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    window.tab("img2img")
    for name, told in (("torn.png", "no picture"), ("tiny.png", "1x1")):
        window.page.set_input_files("#img2img-image input[type=file]", tmp_path / name)
        window.page.wait_for_selector("#img2img-image img", state="attached")
        window.generate("img2img")
        expect(window.messages("img2img")).to_contain_text(told)
        window.page.click("#img2img-image button[aria-label='Remove Image']")
    assert window.states() == []


def test_an_animation_is_refused_in_words(window: Window, server: Server, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    window.tab("img2img")
    window.page.set_input_files("#img2img-image input[type=file]", tmp_path / "moving.gif")
    window.page.wait_for_selector("#img2img-image img")
    window.generate("img2img")
    expect(window.messages("img2img")).to_contain_text("animated")
    assert window.states() == []
