"""Pictures that requests start from: `data/inputs/<sha256 of the file>.png`. No path ever comes from a client."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from webui.images.save import read_image
from webui.runtime.files import remove_leftovers, write_atomically
from webui.schema.errors import DiskError, NotFound
from webui.schema.requests import ImageRef


class Inputs:
    """The folder of pictures that were handed in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_leftovers(folder)

    def add(self, data: bytes) -> ImageRef:
        """Take in a picture of any format, turned upright, as a PNG; the same picture twice is one file.

        Raises:
            BadImage: it cannot be read or is too large. DiskError: it cannot be kept.
        """
        png = _as_png(read_image(data))
        ref = ImageRef(sha256=hashlib.sha256(png).hexdigest())
        if not self.path(ref).is_file():
            try:
                write_atomically(self.path(ref), png)
            except OSError as error:
                reason = error.strerror or str(error)
                raise DiskError(f"The picture cannot be kept: {reason}.", "Free some space.") from error
        return ref

    def path(self, ref: ImageRef) -> Path:
        """Where the picture lies, if it was handed in."""
        return self._folder / f"{ref.sha256}.png"

    def read(self, ref: ImageRef) -> bytes:
        """The PNG. Raises NotFound when it was never handed in, or is gone."""
        try:
            return self.path(ref).read_bytes()
        except OSError:
            raise NotFound("A picture of this request is not there.", "Choose the picture again.") from None

    def size(self, ref: ImageRef) -> tuple[int, int]:
        """(width, height) in pixels. Raises NotFound."""
        try:
            with Image.open(self.path(ref)) as image:
                return image.size
        except OSError:
            raise NotFound("A picture of this request is not there.", "Choose the picture again.") from None


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
