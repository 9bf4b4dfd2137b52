"""Files that the browser handed in become pictures of a request; nothing else on the disk does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.runtime.runtime import Runtime
from webui.schema.errors import AtelierError, BadImage, BadRequest
from webui.ui.pictures import painted_mask, png_bytes, request_images, uploaded_bytes
from webui.ui.tab_inpaint import brush_for

SIZE = (40, 30)


def keep(cache: Path, name: str, image: Image.Image) -> dict[str, Any]:
    """A picture as the page names an upload."""
    path = cache / name
    path.write_bytes(png_bytes(image))
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def layer(box: tuple[int, int, int, int] | None, alpha: int = 153) -> Image.Image:
    """A layer of the mask editor, painted in a box (left, top, right, bottom)."""
    image = Image.new("RGBA", SIZE)
    if box:
        image.paste((138, 108, 255, alpha), box)
    return image


PHOTO = Image.new("RGB", SIZE, "teal")


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "{cache}/../secret.png", "{cache}/link.png", "{cache}", "a\0b", "", 7]
)
def test_no_other_file_of_the_server_is_read(cache: Path, path: Any) -> None:
    (cache.parent / "secret.png").write_bytes(png_bytes(PHOTO))
    (cache / "link.png").symlink_to(cache.parent / "secret.png")
    named = path.format(cache=cache) if isinstance(path, str) else path
    with pytest.raises(BadRequest):
        uploaded_bytes({"path": named})


@pytest.mark.parametrize("file", [None, "text", [], {}, {"path": None}])
def test_what_is_no_file_is_refused(cache: Path, file: Any) -> None:
    with pytest.raises(BadRequest):
        uploaded_bytes(file)


def test_the_mask_is_white_where_any_layer_is_painted() -> None:
    layers = [png_bytes(layer((0, 0, 5, 4))), png_bytes(layer((30, 20, 40, 30), alpha=1))]
    mask = painted_mask(layers, SIZE)
    assert mask is not None
    wanted = np.zeros((30, 40), np.uint8)
    wanted[0:4, 0:5] = 255
    wanted[20:30, 30:40] = 255
    assert np.array_equal(np.asarray(mask), wanted)


def test_no_layers_and_empty_layers_are_nothing_painted() -> None:
    assert painted_mask([], SIZE) is None
    assert painted_mask([png_bytes(layer(None))], SIZE) is None


def test_a_layer_of_another_size_is_refused() -> None:
    with pytest.raises(BadImage, match="400x300"):
        painted_mask([png_bytes(layer((0, 0, 5, 5)))], (400, 300))


def test_inpaint_takes_picture_and_painted_mask(cache: Path, runtime: Runtime) -> None:
    editor = {
        "background": keep(cache, "background.png", PHOTO), "layers": [keep(cache, "layer.png", layer((2, 3, 9, 8)))],
    }  # fmt: skip
    images = request_images("inpaint", {"editor": editor, "mask": None}, runtime.inputs)
    mask = np.asarray(Image.open(runtime.inputs.path(images["mask"])).convert("L"))
    assert mask.sum() == 255 * 7 * 5
    assert Image.open(runtime.inputs.path(images["init_image"])).size == SIZE


def test_an_uploaded_mask_counts_more_than_paint_and_must_fit(cache: Path, runtime: Runtime) -> None:
    editor = {"background": keep(cache, "background.png", PHOTO), "layers": []}
    fitting = keep(cache, "mask.png", Image.new("L", SIZE, 255))
    images = request_images("inpaint", {"editor": editor, "mask": fitting}, runtime.inputs)
    assert np.asarray(Image.open(runtime.inputs.path(images["mask"])).convert("L")).min() == 255
    other = keep(cache, "other.png", Image.new("L", (64, 64), 255))
    with pytest.raises(BadImage, match="64x64"):
        request_images("inpaint", {"editor": editor, "mask": other}, runtime.inputs)


@pytest.mark.parametrize(("tab", "pictures"), [("img2img", {}), ("inpaint", {}), ("inpaint", {"editor": None})])
def test_a_missing_picture_is_told(cache: Path, runtime: Runtime, tab: str, pictures: dict[str, Any]) -> None:
    with pytest.raises(AtelierError, match="There is no picture yet"):
        request_images(tab, pictures, runtime.inputs)


def test_txt2img_needs_no_picture(runtime: Runtime) -> None:
    assert request_images("txt2img", {}, runtime.inputs) == {}


def test_the_brush_suits_the_picture() -> None:
    sizes = {side: brush_for((side, side * 2)).default_size for side in (16, 128, 512, 4096)}
    assert sizes == {16: 3, 128: 6, 512: 25, 4096: 48}
