"""Pictures that were made: where they are saved, and who may see them."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from webui.images.save import next_name, save_png
from webui.runtime.files import remove_leftovers
from webui.runtime.records import Records, SavedImage
from webui.schema.errors import DiskError, NotFound
from webui.schema.results import ImageInfo

log = logging.getLogger(__name__)
FOLDERS = {"txt2img": "txt2img-images", "img2img": "img2img-images", "inpaint": "img2img-images"}


class Outputs:
    """The output folder: one folder a kind and day, files named by a running number and their seed."""

    def __init__(self, root: Path, records: Records) -> None:
        self._root = root
        self._records = records
        self._rescue: tempfile.TemporaryDirectory[str] | None = None
        self._unlisted: dict[str, SavedImage] = {}
        remove_leftovers(root, "*/*/.*.tmp")

    def save(self, kind: str, image: Image.Image, texts: Mapping[str, str], seed: int) -> Path:
        """Write the picture as a PNG that carries its texts: the file is whole or not there.

        Raises:
            DiskError: with the reason.
        """
        return _save(self._root / FOLDERS[kind] / time.strftime("%Y-%m-%d"), image, texts, seed)

    def keep_aside(self, image: Image.Image, texts: Mapping[str, str], seed: int) -> Path:
        """Write a picture that could not be saved into a folder that lasts as long as the server.

        Raises:
            DiskError: not even that worked.
        """
        if self._rescue is None:
            self._rescue = tempfile.TemporaryDirectory(prefix="atelier-unsaved-", ignore_cleanup_errors=True)
        return _save(Path(self._rescue.name), image, texts, seed)

    def register(self, image: SavedImage) -> None:
        """List a picture whose file is there."""
        try:
            self._records.add_image(image)
        except DiskError as error:
            log.error("picture %s is saved as %s but not in the records: %s", image.info.id, image.path, error)
            self._unlisted[image.info.id] = image

    def get(self, image_id: str, owner: str) -> Path:
        """The picture's file. Raises NotFound when this owner has no such picture, or its file is gone."""
        image = self._find(image_id, owner)
        if not image.path.is_file():
            raise NotFound("The file of this picture is gone.", "It was moved or deleted in the output folder.")
        return image.path

    def info(self, image_id: str, owner: str) -> ImageInfo:
        """What is known of the picture. Raises NotFound when this owner has no such picture."""
        return self._find(image_id, owner).info

    def recent(self, owner: str, limit: int = 60, before: str | None = None) -> list[ImageInfo]:
        """The owner's pictures, newest first; `before`: only those older than this picture."""
        return self._records.newest_images(owner, limit, before)

    def close(self) -> None:
        if self._rescue is not None:
            self._rescue.cleanup()

    def _find(self, image_id: str, owner: str) -> SavedImage:
        image = self._unlisted.get(image_id) or self._records.image(image_id)
        if image is None or image.owner != owner:
            raise NotFound("There is no such picture.", "It may belong to another user.")
        return image


def _save(folder: Path, image: Image.Image, texts: Mapping[str, str], seed: int) -> Path:
    path = folder / next_name(folder, seed)
    save_png(image, path, texts)
    return path
