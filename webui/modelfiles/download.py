"""Downloads a model and puts it where it belongs: from an https address, or from the Hugging Face hub.

What comes is kept in a hidden folder of the models folder until it is whole, so that a second call goes on there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from webui.checkpoints.convert import convert_checkpoint
from webui.checkpoints.places import Places
from webui.fetch.errors import Offline
from webui.fetch.file_lock import locked
from webui.fetch.hub import Hub, HubFile, HubPlace, endpoint_of, read_place
from webui.fetch.names import plain_name
from webui.fetch.receive import Progress, Wanted, forget, receive, untold
from webui.fetch.web import Web, shown
from webui.modelfiles.choosing import GENERIC, Chosen, choose
from webui.modelfiles.folder import fetch_folder
from webui.modelfiles.order import Order, Put
from webui.modelfiles.putting import Home, home_of, is_pickle, put, wanted_home
from webui.modelfiles.watch import Watch, pickle_refused
from webui.schema.errors import AtelierError, BadRequest, DiskError, ModelError

STAGING: Final = ".downloads"
_BY_NAME: Final = {"models/ControlNet": "config.json", "models/Lora": "adapter_config.json"}
"""Folders whose files of a general name go by the name of the folder they lie in -> the settings beside them."""


def download(order: Order, places: Places, web: Web, progress: Progress = untold, endpoint: str | None = None) -> Put:
    """Fetch a model and put it into the folder of its kind. endpoint: of the hub.

    Raises:
        Offline: at once, where the user wants that. FetchError, DiskError, ModelError, NotFound.
        BadRequest: the order is wrong, the model is a pickle, or another file has its name.
    """
    hub = Hub(web, endpoint or endpoint_of())
    place = read_place(order.what.strip(), hub.endpoint, order.revision)
    if web.offline:
        raise Offline(shown(order.what))
    if order.name and plain_name(order.name) != order.name:
        raise BadRequest(f'"{order.name}" is no name for a file.', "Use letters and digits, without strokes.")
    wanted_home(order.to, places)
    errand = _Errand(order, places, web, hub, progress)
    try:
        return errand.address() if place is None else errand.place(place)
    except OSError as error:
        raise DiskError(f"The download was not saved: {error.strerror or error}.") from error


@dataclass(frozen=True)
class _Errand:
    order: Order
    places: Places
    web: Web
    hub: Hub
    progress: Progress

    def address(self) -> Put:
        url = self.order.what.strip()
        self.web.check(url)
        return self._file(url, "", "", 0, self.place_alone)

    def place(self, place: HubPlace) -> Put:
        files = self.hub.files(place)
        chosen = choose(place, files, self.order.variant)
        if chosen.folder is not None:
            return self._folder(place, chosen)
        (file,) = chosen.files
        put_there = _Naming(self, place, file, files).put if Path(file.name).stem in GENERIC else self.place_alone
        return self._file(self.hub.url(place, file.path), file.name, file.sha256, file.bytes, put_there)

    def _file(self, url: str, name: str, sha256: str, size: int, put_there: PutThere) -> Put:
        staging = staging_of(self.places, url)
        called = self.order.name or name
        shown_name = called or plain_name(shown(url)) or "The file"
        wanted = Wanted(url, staging / "part", shown_name, size, (self.order.sha256 or sha256).lower())
        with self._alone(staging, shown_name):
            watch = Watch(self.order, self.places, self.progress, wanted, called, put_there == self.place_alone)
            known = receive(wanted, self.web, watch.progress, watch.starting)
            result = self._finish(wanted, called or known.name, put_there)
            shutil.rmtree(staging, ignore_errors=True)
        return result

    @contextmanager
    def _alone(self, staging: Path, name: str) -> Iterator[None]:
        """No other program fetches the same meanwhile."""
        staging.mkdir(parents=True, exist_ok=True)
        with locked(staging.with_suffix(".lock"), lambda: self.progress(name, 0, 0)):
            staging.mkdir(exist_ok=True)  # who had it before may have put it away
            yield

    def _finish(self, wanted: Wanted, name: str, put_there: PutThere) -> Put:
        part = wanted.part
        if is_pickle(part, name):
            if not self.order.convert:
                raise pickle_refused(name)
            part, name = _converted(part, name), Path(name).with_suffix(".safetensors").name
        name = name if name.lower().endswith(".safetensors") else f"{Path(name).name or 'model'}.safetensors"
        try:
            home = home_of(part, name, self.places, self.order.to)
        except ModelError as error:
            if not self.order.to and "--to" in error.cure:
                raise  # it stays, for a second call that says where it belongs
            forget(wanted)
            raise
        result = put_there(part, name, home)
        forget(wanted)
        return result

    def place_alone(self, part: Path, name: str, home: Home) -> Put:
        """Under its own name."""
        new = put(part, home.path / name)
        return Put(home.path / name, home.what, home.folder, new)

    def _folder(self, place: HubPlace, chosen: Chosen) -> Put:
        if self.order.sha256:
            raise BadRequest("A sha256 belongs to a file; this is a folder of several.", "Leave it out.")
        root = chosen.folder or ""
        name = plain_name(self.order.name or root.rpartition("/")[2] or place.name)
        home = wanted_home(self.order.to, self.places) or wanted_home("checkpoint", self.places)
        assert home is not None
        if (home.path / name).exists():
            raise BadRequest(f"There is a folder {name} in {home.folder} already; it was not touched.", "Use --name.")
        staging = staging_of(self.places, f"{self.hub.url(place, root)} {self.order.variant}")
        with self._alone(staging, name):
            fetch_folder(self.hub, place, chosen, staging / name, self.progress)
            home.path.mkdir(parents=True, exist_ok=True)
            shutil.move(staging / name, home.path / name)
            shutil.rmtree(staging, ignore_errors=True)
        return Put(home.path / name, "a model in diffusers' layout", home.folder)

    def fetch_beside(self, place: HubPlace, path: str, folder: Path) -> None:
        """A small file that belongs to a model, into its folder."""
        staging = staging_of(self.places, self.hub.url(place, path))
        staging.mkdir(parents=True, exist_ok=True)
        wanted = Wanted(self.hub.url(place, path), staging / "part", path)
        receive(wanted, self.web)
        folder.mkdir(parents=True, exist_ok=True)
        put(wanted.part, folder / path.rpartition("/")[2])
        shutil.rmtree(staging, ignore_errors=True)


PutThere = Callable[[Path, str, Home], Put]
"""(its bytes, its name, where its kind belongs) -> where it is."""


@dataclass(frozen=True)
class _Naming:
    """Puts a file whose name says nothing where the repository's name tells it. file: it, of all `files` there."""

    errand: _Errand
    place: HubPlace
    file: HubFile
    files: tuple[HubFile, ...]

    def put(self, part: Path, name: str, home: Home) -> Put:
        called = plain_name(self.errand.order.name.removesuffix(".safetensors") or self.place.name)
        settings = _BY_NAME.get("/".join(home.folder.split("/")[:2]))
        if settings is None:
            return self.errand.place_alone(part, f"{called}.safetensors", home)
        own = replace(home, path=home.path / called, folder=f"{home.folder}/{called}")
        beside = [file.path for file in self.files if (file.folder, file.name) == (self.file.folder, settings)]
        for path in beside:
            self.errand.fetch_beside(self.place, path, own.path)
        return self.errand.place_alone(part, self.file.name, own)


def _converted(part: Path, name: str) -> Path:
    """A pickle as safetensors, converted in a process that is thrown away."""
    source = part.with_name(f"{Path(name).stem or 'model'}.ckpt")
    os.replace(part, source)
    try:
        converted = convert_checkpoint(source)
    except AtelierError:
        source.unlink(missing_ok=True)
        raise
    source.unlink()
    return converted


def staging_of(places: Places, of: str) -> Path:
    """Where what has come of an address is kept."""
    return places.models_dir / STAGING / hashlib.sha256(of.encode()).hexdigest()[:16]
