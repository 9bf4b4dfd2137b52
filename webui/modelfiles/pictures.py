"""Small preview pictures of models: the file beside it, else the one in its header."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import Final

from PIL import Image

from webui.images.read import opaque, read_image
from webui.modelfiles.beside import preview_of
from webui.modelfiles.info import thumbnail_of
from webui.schema.errors import BadImage

SIDE: Final = 320
"""Pixels of the longer side."""
LARGEST: Final = 40_000_000
"""Bytes of a preview that is looked at."""
_DATA: Final = ";base64,"


def thumbnail(path: Path) -> bytes | None:
    """The preview of a model as a small WebP; None where there is none that can be read."""
    try:
        data = _preview(path)
        return small(data) if data else None
    except (BadImage, OSError):
        return None


def small(data: bytes, side: int = SIDE, form: str = "WEBP") -> bytes:
    """A picture as a small one, whose longer side has so many pixels at most. Raises BadImage."""
    image = opaque(read_image(data))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, form, quality=80)
    return buffer.getvalue()


def _preview(path: Path) -> bytes | None:
    file = preview_of(path)
    if file is not None:
        return file.read_bytes() if file.stat().st_size <= LARGEST else None
    said = thumbnail_of(path) if path.suffix == ".safetensors" else ""
    if _DATA not in said[:100]:
        return None
    try:
        return base64.b64decode(said.partition(_DATA)[2], validate=False)
    except (binascii.Error, ValueError):
        return None
