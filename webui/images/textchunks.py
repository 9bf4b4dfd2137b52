"""The text in the bytes of a picture, wherever its writer has put it."""

from __future__ import annotations

from PIL import ExifTags, Image

from webui.images.controltext import OWN_CHUNK
from webui.images.read import MAX_INPUT_PIXELS, open_header
from webui.schema.errors import BadImage

MAX_TEXT = 1_000_000
MAX_OWN_TEXT = 16_000_000
"""What is cut off is no JSON any more; a request holds at most `MAX_STEERING` of it."""


def read_infotext(data: bytes) -> str:
    """The text in a picture's bytes: PNG `parameters`, EXIF UserComment of JPEG, WebP and AVIF, GIF comment; or "".

    Raises:
        BadImage: it is no picture.
    """
    return read_texts(data)[0]


def read_texts(data: bytes) -> tuple[str, str]:
    """(`read_infotext`, the text that `own_text` wrote). Raises BadImage."""
    with open_header(data) as image:
        try:
            return _text_of(image)[:MAX_TEXT], str(image.info.get(OWN_CHUNK, ""))[:MAX_OWN_TEXT]
        except Exception as error:  # damaged text chunks raise whatever they bring about
            raise BadImage(f"The text in the picture cannot be read: {error}.", "Use the original file.") from error


def _text_of(image: Image.Image) -> str:
    if image.format == "GIF":
        return _decode(image.info.get("comment", b""))
    if image.format == "PNG":
        if "parameters" not in image.info and image.width * image.height <= MAX_INPUT_PIXELS:
            image.load()  # text may also stand behind the pixels
        return str(image.info.get("parameters", ""))
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    return _user_comment(comment) if isinstance(comment, bytes) else str(comment)


def _user_comment(comment: bytes) -> str:
    """EXIF 2.3, 4.6.5 "UserComment": eight bytes name the character code."""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # the standard leaves the byte order open; A1111 writes big-endian, others little: a prompt has Latin letters
        little = text[1::2].count(0) > text[::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").lstrip("\ufeff").strip("\0")
    return _decode(text if code in (b"ASCII\0\0\0", b"\0" * 8) else comment)


def _decode(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace").strip("\0")
