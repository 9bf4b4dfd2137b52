"""Pictures that came along with a request or a question, by the sha256 that names them there."""

from __future__ import annotations

from collections.abc import Mapping

from PIL.Image import Image

from webui.images.read import read_image
from webui.schema.errors import BadRequest
from webui.schema.images import ImageRef


def read_given(images: Mapping[str, bytes], ref: ImageRef) -> Image:
    """A picture of its own, upright, RGB or RGBA. images: sha256 -> the bytes of a file.

    Raises:
        BadRequest: it did not come along. BadImage: it cannot be read.
    """
    if ref.sha256 not in images:
        raise BadRequest("A picture of this request is no longer there.", "Choose the picture again.")
    return read_image(images[ref.sha256])


class GivenPictures:
    """`read_given`, but each picture is read once; nobody may write into it."""

    def __init__(self, images: Mapping[str, bytes]) -> None:
        self._images = images
        self._read: dict[str, Image] = {}

    def open(self, ref: ImageRef) -> Image:
        """Raises as `read_given` does."""
        if ref.sha256 not in self._read:
            self._read[ref.sha256] = read_given(self._images, ref)
        return self._read[ref.sha256]
