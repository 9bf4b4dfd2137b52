"""Pictures on their way from the page to a request: files that the browser handed to Gradio become `ImageRef`s."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from webui.images.mask import load_mask
from webui.images.read import read_image
from webui.runtime.inputs import Inputs
from webui.schema.errors import BadImage, BadRequest
from webui.schema.requests import ImageRef


def uploaded_bytes(file: Any) -> bytes:
    """The bytes of a file that Gradio took in for the page.

    Raises:
        BadRequest: the path is not below Gradio's own folder (a page never sends such a path), or the file is gone.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or "\0" in path:
        raise BadRequest("The page sent something that is no picture.", "Load the picture again.")
    root, full = Path(get_upload_folder()).resolve(), Path(path).resolve()
    if not full.is_relative_to(root):
        raise BadRequest("This file was not uploaded here.", "Load the picture again.")
    if not full.is_file():
        raise BadRequest("The uploaded picture is no longer there.", "Load the picture again.")
    return full.read_bytes()


def request_images(tab: str, pictures: Mapping[str, Any], inputs: Inputs) -> dict[str, ImageRef]:
    """The picture fields of the tab's request.

    pictures: `image` (img2img); `editor` (background and layers of the mask editor) and `mask` (inpaint).

    Raises:
        BadRequest: a picture is missing or nothing is painted. BadImage: it cannot be read.
    """
    if tab == "img2img":
        return {"init_image": inputs.add(_required(pictures.get("image")))}
    if tab == "inpaint":
        return _inpaint_images(pictures.get("editor") or {}, pictures.get("mask"), inputs)
    return {}


def painted_mask(layers: Sequence[bytes], size: tuple[int, int]) -> Image.Image | None:
    """White where any layer is painted, in mode L and of `size` (width, height); None when nothing is.

    Raises:
        BadImage: a layer has another size than the picture.
    """
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)  # (h w)
    for data in layers:
        layer = read_image(data)
        if layer.size != size:
            sizes = f"{layer.width}x{layer.height} pixels, the picture {size[0]}x{size[1]}"
            raise BadImage(f"The painted mask is {sizes}.", "Load the picture again.")
        mask[np.asarray(layer.convert("RGBA"))[..., 3] > 0] = 255
    return Image.fromarray(mask) if mask.any() else None


def png_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _inpaint_images(editor: Mapping[str, Any], mask: Any, inputs: Inputs) -> dict[str, ImageRef]:
    background = _required(editor.get("background"))
    size = read_image(background).size
    if mask:
        uploaded = uploaded_bytes(mask)
        load_mask(read_image(uploaded), size)
        return {"init_image": inputs.add(background), "mask": inputs.add(uploaded)}
    painted = painted_mask([uploaded_bytes(layer) for layer in editor.get("layers") or ()], size)
    if painted is None:
        cure = "Paint over what shall change (the brush is on the left of the picture), or upload a mask below it."
        raise BadRequest("Nothing is painted on the picture.", cure)
    return {"init_image": inputs.add(background), "mask": inputs.add(png_bytes(painted))}


def _required(file: Any) -> bytes:
    if not file:
        raise BadRequest("There is no picture yet.", "Drop one on the picture field, or send one over from a result.")
    return uploaded_bytes(file)
