"""The files of a diffusers folder, fetched one after the other."""

from __future__ import annotations

import os
from pathlib import Path

from webui.checkpoints.source import open_checkpoint
from webui.fetch.hub import Hub, HubFile, HubPlace
from webui.fetch.receive import Progress, Wanted, forget, receive
from webui.fetch.room import check_room
from webui.modelfiles.choosing import Chosen


def fetch_folder(hub: Hub, place: HubPlace, chosen: Chosen, model: Path, progress: Progress) -> None:
    """Fetch the files that are not in the folder `model` yet, and look whether they are a model together.

    Raises:
        FetchError, DiskError. ModelError: they are no Stable Diffusion model.
    """
    files = {file: model / _inside(file, chosen.folder or "") for file in chosen.files}
    done = sum(file.bytes for file, path in files.items() if path.is_file())
    check_room(model.name, model.parent, chosen.bytes - done)
    for file, path in files.items():
        if path.is_file():
            continue
        part = path.with_name(f"{path.name}.part")
        wanted = Wanted(hub.url(place, file.path), part, file.path, file.bytes, file.sha256)
        receive(wanted, hub.web, _after(progress, done, chosen.bytes))
        os.replace(part, path)
        forget(wanted)
        done += file.bytes
    open_checkpoint(model).config()


def _inside(file: HubFile, root: str) -> str:
    """The path of a file in its folder."""
    return file.path.removeprefix(f"{root}/") if root else file.path


def _after(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one file as that of all of them."""
    return lambda name, done, _total: progress(name, before + done, total)
