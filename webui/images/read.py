"""Read a picture that somebody handed in: the usual formats, upright, in RGB or RGBA, checked before decoding."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from webui.schema.errors import BadImage

MAX_INPUT_PIXELS = 64_000_000
MIN_SIDE = 8
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""What is tried: PIL's other decoders (vector formats that start other programs, ...) see no stranger's file."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what brings the picture upright."""


def read_image(source: bytes | str | Path, limit: int = MAX_INPUT_PIXELS) -> Image.Image:
    """The picture in a file or its bytes, turned upright, in RGB, or RGBA where it has transparency.

    limit: pixels; a larger picture is refused from its header, before anything is decoded.

    Raises:
        BadImage: empty, no picture, animated, cut off, damaged, too large, or with a side under 8 pixels.
    """
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    with open_header(data) as image:
        _check_size(image.size, limit)
        _check_still(image)
        return as_rgb(_upright(_decode(image)))


def open_header(data: bytes) -> Image.Image:
    """The picture before it is decoded: its size, format and text are known. The caller closes it.

    Raises:
        BadImage: empty, no picture that can be read, or a header that asks for absurd sizes.
    """
    if not data:
        raise BadImage("The picture file is empty.", "Save it again or choose another one.")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("The picture has too many pixels.", _LIMIT_CURE) from None
    except Exception as error:  # decoders raise whatever a damaged header brings about
        raise BadImage(
            "This is no picture that can be read, or it is cut off.", "Use PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF."
        ) from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB, or RGBA where there is transparency; 16-bit and float greys keep their brightness.

    Raises:
        BadImage: colours that PIL cannot turn into RGB.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    try:
        rgb = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ValueError as error:
        raise BadImage(f"The colours of the picture ({image.mode}) cannot be read.", "Save it as RGB.") from error
    return _plain(rgb)


def opaque(image: Image.Image, background: str = "white") -> Image.Image:
    """RGB: transparency is laid over a background colour."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image).convert("RGB")


_LIMIT_CURE = f"Make it smaller: at most {MAX_INPUT_PIXELS // 1_000_000} megapixels."


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"{path.name} cannot be read: {error.strerror or error}.", "Choose another picture.") from error


def _check_size(size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width * height > limit:
        raise BadImage(
            f"The picture is {width}x{height} pixels, which is over the limit of {limit / 1e6:g} megapixels.",
            "Make it smaller.",
        )
    if width < MIN_SIDE or height < MIN_SIDE:
        raise BadImage(
            f"The picture is only {width}x{height} pixels.", f"Use one of at least {MIN_SIDE}x{MIN_SIDE} pixels."
        )


def _check_still(image: Image.Image) -> None:
    # the further pictures of a phone's MPO file are not frames: depth maps, other exposures
    if image.format != "MPO" and _has_frames(image):
        kind = "pages" if image.format == "TIFF" else "frames: it is animated"
        raise BadImage(f"The {image.format} picture has several {kind}.", "Save the one you mean as a PNG.")


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damaged behind the first frame: decoding tells more
        return False


def _decode(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # decoders raise whatever damaged data bring about
        raise BadImage(
            f"The {image.format} picture is cut off or damaged: {error}.", "Save or download it again."
        ) from error
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF says nothing about the turn; the picture itself is whole
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_8_bit(grey: np.ndarray) -> np.ndarray:
    """Grey levels (h w) of 16 bits, or floats in 0..1 or 0..255, as uint8."""
    if np.issubdtype(grey.dtype, np.floating):
        grey = np.nan_to_num(grey)
        return np.clip(grey * (255 if grey.max(initial=0) <= 1 else 1), 0, 255).astype(np.uint8)
    return (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)


def _plain(image: Image.Image) -> Image.Image:
    """A copy of the pixels alone: no profile, EXIF or text travels on into other files."""
    copy = image.copy()
    copy.info = {}
    return copy
