"""Write pictures so that a file is whole or not there. `read_image` stands here too: both ends of a picture file."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.images.read import read_image
from webui.schema.errors import DiskError

__all__ = ["next_name", "png_bytes", "read_image", "save_png", "write_whole"]

_NUMBERED = re.compile(r"(\d{5,})-")


def next_name(folder: Path, seed: int) -> str:
    """The name for the folder's next picture, `00042-1234.png`: a running number and the seed."""
    names = os.listdir(folder) if folder.is_dir() else []
    numbers = [int(found[1]) for found in map(_NUMBERED.match, names) if found]
    return f"{max(numbers, default=-1) + 1:05}-{seed}.png"


def save_png(image: Image.Image, path: Path, text: Mapping[str, str] | None = None) -> None:
    """Write a PNG with text chunks, under its name only when it is whole and on the disk.

    Raises:
        DiskError: with the system's reason; nothing is left behind.
    """
    try:
        write_whole(path, png_bytes(image, text))
    except OSError as error:
        raise DiskError(
            f"{path.name} was not saved: {error.strerror or error}.", "Free some space in the output folder."
        ) from error


def png_bytes(image: Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """The PNG file of a picture, with text chunks (tEXt, or iTXt where Latin-1 is not enough)."""
    info, buffer = PngInfo(), io.BytesIO()
    for key, value in (text or {}).items():
        info.add_text(key, value.replace("\0", ""))
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write through a temporary file beside it, synced before it takes the name. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600: other users may read what this one shares
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    """The process's umask, which can only be read by setting it; on Linux the kernel tells it as well."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    return 0o022


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can (Windows cannot open folders)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
