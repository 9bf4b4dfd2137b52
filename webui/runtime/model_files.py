"""What users of a server see of its model files and do with them. Files are known by ids; no path leaves here."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from webui.checkpoints.convert import convert_checkpoint
from webui.checkpoints.header import PICKLES
from webui.checkpoints.places import Places
from webui.fetch.hub import endpoint_of, known_tokens
from webui.fetch.web import Web, shown
from webui.images.read import read_image
from webui.modelfiles.beside import Note, note_file, noted, preview_file, preview_of, read_note
from webui.modelfiles.cards import Cards, Wanted, doubled_names, pick, tag_of
from webui.modelfiles.download import download
from webui.modelfiles.info import inform
from webui.modelfiles.order import Order
from webui.modelfiles.pictures import small, thumbnail
from webui.networks.inventory import Item
from webui.networks.library import Library
from webui.runtime.errands import Errand, Errands
from webui.runtime.files import write_atomically
from webui.runtime.hashing import Hashing
from webui.schema.errors import BadRequest, DiskError, Forbidden

LOCKED = (
    "Others can reach this server, so model files are fetched, converted and described only on its own computer "
    "(launch.py models)."
)
DECODED = 2
"""Preview pictures that are decoded at a time."""
PICTURE_SIDE = 768
"""Pixels of the longer side of a preview picture that is written."""


class ModelFiles:
    """web: how the network may be used; locked: nothing may be changed from here."""

    def __init__(self, library: Library, data_dir: Path, web: Web, hashing: Hashing, locked: bool = False) -> None:
        self.locked = locked
        self.errands = Errands()
        self._library = library
        self._hashing = hashing
        self._small = data_dir / "thumbs"
        self._drawing = threading.BoundedSemaphore(DECODED)
        self._web = web

    @property
    def places(self) -> Places:
        return self._library.places

    @property
    def offline(self) -> bool:
        return self._web.offline

    def cards(self, wanted: Wanted) -> Cards:
        return pick(self._library.items(), wanted)

    def refresh(self) -> None:
        """Look at the folders anew."""
        self._library.refresh()
        self._hashing.again()

    def info(self, id: str) -> dict[str, Any]:
        """Everything that is known of a file. Raises NotFound."""
        item = self._library.item(id)
        told = asdict(inform(item))
        (card,) = pick([item], Wanted()).cards
        card["tag"] = card["tag"] and tag_of(item, self._doubled())
        error = self.plain(item.error)
        return {**card, **told, "error": error, "sha256": item.sha256, "file": item.file, "may_change": self._may(item)}

    def thumbnail(self, id: str) -> bytes | None:
        """The preview of a file as a small WebP, None without; made once. Raises NotFound."""
        path = self._library.item(id).path
        picture = preview_of(path) or path
        try:
            kept = self._small / f"{id}-{picture.stat().st_mtime_ns:x}.webp"
            if kept.is_file():
                return kept.read_bytes() or None
        except OSError:
            return None
        with self._drawing:  # a page asks for many at once, and each may be of 64 megapixels
            made = thumbnail(path)
        for old in self._small.glob(f"{id}-*.webp"):
            old.unlink(missing_ok=True)
        write_atomically(kept, made or b"")
        return made

    def set_note(self, id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Write what the user says of a file into the JSON file beside it. Raises Forbidden, NotFound, DiskError."""
        item = self._changing(id)
        note: Note = replace(read_note(item.path), **changes)
        self._write(note_file(item.path), noted(item.path, note).encode())
        return self.info(id)

    def set_picture(self, id: str, png: bytes) -> None:
        """Make a picture the preview of a file. Raises Forbidden, NotFound, BadImage, DiskError."""
        item = self._changing(id)
        read_image(png)
        self._write(preview_file(item.path), small(png, PICTURE_SIDE, "PNG"))

    def convert(self, id: str) -> Errand:
        """Convert a pickle in the background. Raises Forbidden, NotFound, BadRequest."""
        item = self._changing(id)
        if item.path.suffix.lower() not in PICKLES:
            raise BadRequest(f"{item.path.name} is no pickle.", "Nothing needs to be converted.")

        def work(progress: Any) -> str:
            progress(item.path.name, 0, 0)
            made = convert_checkpoint(item.path)
            self.refresh()
            return f"{made.name} is there now; the pickle was left where it is."

        return self.errands.start(f"Convert {item.path.name}", work)

    def download(self, order: Order, token: str = "") -> Errand:
        """Fetch a model in the background. token: for the host of its address. Raises Forbidden."""
        if self.locked:
            raise Forbidden(LOCKED)
        host = urlsplit(order.what.strip() if "://" in order.what else endpoint_of()).hostname or ""
        tokens = {**known_tokens(), **({host: token} if token else {})}

        def work(progress: Any) -> str:
            made = download(order, self.places, replace(self._web, tokens=tokens), progress, endpoint_of())
            self.refresh()
            return made.said

        return self.errands.start(shown(order.what.strip()), work)

    def cancel(self, id: str) -> None:
        """End an errand. Raises Forbidden, NotFound."""
        if self.locked:
            raise Forbidden(LOCKED)
        self.errands.cancel(id)

    def hashing(self) -> dict[str, Any]:
        """How far the reading of hashes is; no file is named."""
        told = asdict(self._hashing.progress())
        return {name: told[name] for name in ("state", "files", "files_done", "bytes", "bytes_done")}

    def pause_hashing(self, paused: bool) -> None:
        """Read no more hashes but those that jobs need; or go on. Raises Forbidden."""
        if self.locked:
            raise Forbidden(LOCKED)
        if paused:
            self._hashing.pause()
        else:
            self._hashing.resume()

    def plain(self, text: str) -> str:
        """A message without the server's folders."""
        roots = {place.folder.parent for place in self._library.places.of_kind("checkpoint")}
        roots |= {self.places.models_dir, self.places.models_dir.absolute()}
        for root in sorted(map(str, roots), key=len, reverse=True):
            text = text.replace(f"{root}{os.sep}", "models/") if len(root) > 1 else text
        return re.sub(r"(?<![\w.:/])/(?:[\w.+ -]+/)+(?=[\w.+-]+)", "", text)

    def close(self) -> None:
        self.errands.close()

    def _may(self, item: Item) -> bool:
        return item.own and not self.locked

    def _changing(self, id: str) -> Item:
        if self.locked:
            raise Forbidden(LOCKED)
        item = self._library.item(id)
        if not item.own:
            raise Forbidden(f"{item.path.name} lies in a folder of another program, which nothing is written to.")
        return item

    def _doubled(self) -> frozenset[tuple[str, str]]:
        return doubled_names(self._library.items())

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise DiskError(f"{path.name} was not written: {error.strerror or error}.") from error
        self._library.refresh()
