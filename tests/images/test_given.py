"""Pictures that came along with a request."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from webui.images.given import GivenPictures, read_given
from webui.schema.errors import BadImage, BadRequest
from webui.schema.images import ImageRef

TURNED_LEFT = 6


def given(data: bytes) -> tuple[dict[str, bytes], ImageRef]:
    digest = hashlib.sha256(data).hexdigest()
    return {digest: data}, ImageRef(sha256=digest)


def photo() -> bytes:
    """10 x 20 pixels as they are stored, with a note that they lie on their side."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = TURNED_LEFT
    Image.new("L", (10, 20), 7).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_a_picture_stands_upright_and_in_colours() -> None:
    image = read_given(*given(photo()))
    assert (image.mode, image.size) == ("RGB", (20, 10))
    assert (np.asarray(image) == 7).all()


def test_a_picture_that_did_not_come_along_is_named_as_gone() -> None:
    _images, ref = given(photo())
    for open_it in (lambda: read_given({}, ref), lambda: GivenPictures({}).open(ref)):
        with pytest.raises(BadRequest, match="A picture of this request is no longer there"):
            open_it()


def test_damaged_bytes_are_a_bad_image() -> None:
    with pytest.raises(BadImage):
        read_given(*given(photo()[:60]))


def test_each_picture_is_read_once_for_those_who_only_look() -> None:
    images, ref = given(photo())
    pictures = GivenPictures(images)
    assert pictures.open(ref) is pictures.open(ref)


def test_a_picture_that_is_added_later_is_found() -> None:
    images: dict[str, bytes] = {}
    pictures = GivenPictures(images)
    added, ref = given(photo())
    images |= added
    assert pictures.open(ref).size == (20, 10)
