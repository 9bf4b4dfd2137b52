"""Pictures that somebody hands in: all usual kinds are read alike, all others refused in words."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from webui.images.read import MAX_INPUT_PIXELS, opaque, read_image
from webui.images.save import png_bytes
from webui.schema.errors import BadImage

RNG = np.random.default_rng(0)
COLOURS = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8))


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def error_of(data):
    with pytest.raises(BadImage) as caught:
        read_image(data)
    assert caught.value.cure
    return caught.value.message


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_pictures_without_loss_come_back_exactly(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    found = read_image(encoded(COLOURS, kind, **options))
    assert found.mode == "RGB"
    assert np.array_equal(found, COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_pictures_with_loss_are_read(kind):
    found = read_image(encoded(Image.new("RGB", (32, 24), "red"), kind))
    assert (found.mode, found.size) == ("RGB", (32, 24))
    assert abs(np.asarray(found, int) - (255, 0, 0)).max() < 8


def test_a_picture_is_read_from_its_path(tmp_path):
    COLOURS.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOURS)
    with pytest.raises(BadImage, match=r"b\.png cannot be read"):
        read_image(tmp_path / "b.png")


def test_transparency_is_kept():
    rgba = COLOURS.copy()
    rgba.putalpha(Image.fromarray(RNG.integers(0, 256, (12, 16), dtype=np.uint8)))
    found = read_image(encoded(rgba))
    assert found.mode == "RGBA"
    assert np.array_equal(found, rgba)


@pytest.mark.parametrize("mode", ["P", "L", "1", "LA", "CMYK"])
def test_other_colour_modes_become_rgb(mode):
    grey = Image.new("RGB", (16, 12), (255, 255, 255))
    data = encoded(grey.convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    found = read_image(data)
    assert found.mode == ("RGBA" if mode == "LA" else "RGB")
    assert abs(np.asarray(found.convert("RGB"), int) - 255).max() <= 1


def test_a_palette_with_transparency_becomes_rgba():
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 1)
    found = read_image(encoded(palette, transparency=1))
    assert found.mode == "RGBA"
    assert found.getpixel((0, 0)) == (0, 255, 0, 0)
    assert found.getpixel((1, 0)) == (255, 0, 0, 255)


def test_a_colour_that_stands_for_transparency_becomes_rgba():
    found = read_image(encoded(Image.new("RGB", (8, 8), (1, 2, 3)), transparency=(1, 2, 3)))
    assert found.getpixel((0, 0)) == (1, 2, 3, 0)


def test_sixteen_bit_greys_keep_their_brightness():
    grey = np.linspace(0, 65535, 8 * 8, dtype=np.uint16).reshape(8, 8)
    found = np.asarray(read_image(encoded(Image.fromarray(grey))))
    assert np.array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_greys_keep_their_brightness(top):
    grey = np.linspace(0, top, 8 * 8, dtype=np.float32).reshape(8, 8)
    grey[0, 0] = np.nan
    found = np.asarray(read_image(encoded(Image.fromarray(grey), "TIFF")))
    assert found[0, 0, 0] == 0
    assert found[-1, -1, 0] == 255
    assert abs(found[..., 0].astype(float) - np.nan_to_num(grey) * 255 / top).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation):
    """Undo by hand what each orientation of EXIF 2.3, 4.6.4 says of row 0 and column 0."""
    upright = np.asarray(COLOURS)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1], 8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif.tobytes())
    assert np.array_equal(read_image(data), upright)


def test_damaged_exif_does_no_harm():
    data = encoded(COLOURS, "PNG", exif=b"Exif\0\0MM\0*" + b"\xff" * 30)
    assert np.array_equal(read_image(data), COLOURS)


def test_nothing_beside_the_pixels_travels_on():
    found = read_image(png_bytes(COLOURS, {"parameters": "secret"}))
    assert found.info == {}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_refused_in_words(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    message = error_of(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert message == f"The {kind} picture has several frames: it is animated."


def test_a_document_of_several_pages_is_refused_in_words():
    message = error_of(encoded(COLOURS, "TIFF", save_all=True, append_images=[COLOURS]))
    assert message == "The TIFF picture has several pages."


def test_of_a_phones_several_pictures_the_first_is_read():
    data = encoded(Image.new("RGB", (16, 16), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert read_image(data).getpixel((8, 8))[0] > 240


def test_an_empty_file_is_said_to_be_empty():
    assert error_of(b"") == "The picture file is empty."


@pytest.mark.parametrize(
    "data",
    [b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 99],
)
def test_other_files_are_no_pictures(data):
    assert "no picture that can be read" in error_of(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_off_pictures_are_refused(kind, share):
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    message = error_of(data[: int(len(data) * share)])
    assert "cut off" in message


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]), st.data())
def test_any_damage_is_refused_or_harmless(kind, data):
    raw = bytearray(encoded(COLOURS, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert read_image(bytes(raw)).mode in ("RGB", "RGBA")
    except BadImage as error:
        assert error.cure  # noqa: PT017  (either outcome is right)


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_tiny_pictures_are_refused_with_the_least_size(size):
    message = error_of(encoded(Image.new("RGB", size)))
    assert message == f"The picture is only {size[0]}x{size[1]} pixels."


def png_header(width, height):
    """A PNG that promises a size and holds nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + pixels


@pytest.mark.parametrize("size", [(10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (64_000_008, 1)])
def test_bombs_are_refused_from_their_header(size, recwarn):
    """The file holds no pixels, so a decoder would complain of those first."""
    message = error_of(png_header(*size))
    assert "pixels" in message


def test_a_large_photo_is_within_the_limit():
    assert MAX_INPUT_PIXELS == 64_000_000
    assert "cut off" in error_of(png_header(8000, 8000))


def test_the_limit_can_be_lower():
    with pytest.raises(BadImage, match=r"over the limit of 0\.0001 megapixels"):
        read_image(encoded(COLOURS), limit=100)


def test_transparency_can_be_laid_over_white():
    rgba = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    rgba.putpixel((0, 0), (10, 20, 30, 255))
    assert opaque(rgba).getpixel((1, 1)) == (255, 255, 255)
    assert opaque(rgba).getpixel((0, 0)) == (10, 20, 30)
    assert opaque(COLOURS).tobytes() == COLOURS.tobytes()
