"""Where a new model file belongs, told by its header, and how it gets there: never over another one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.header import PICKLES, Header, TensorInfo, looks_like_pickle, read_header
from webui.checkpoints.kinds import kind_of_file
from webui.checkpoints.places import Places
from webui.checkpoints.trees import KINDS, OWN, Kind
from webui.fetch.names import plain_name
from webui.fetch.receive import sha256_of
from webui.fetch.room import check_room
from webui.schema.errors import BadRequest, ModelError

_MODELS = "models/"


@dataclass(frozen=True)
class Home:
    """A folder for a new file. what: of the file, as "a LoRA"; folder: as the user knows it."""

    path: Path
    what: str
    folder: str


def home_of(part: Path, name: str, places: Places, to: str = "") -> Home:
    """Where a file belongs. part: its bytes; name: what messages call it; to: where the user wants it ("KIND/FOLDER").

    Raises:
        ModelError: it is damaged, or no model file; or nobody knows what it is, and the user does not say.
        BadRequest: as `wanted_home`.
    """
    try:
        kind = kind_of_file(read_header(part))
    except ModelError as error:
        raise ModelError(error.message.replace(part.name, name), error.cure.replace(part.name, name)) from error
    wanted = wanted_home(to, places)
    if wanted is not None:
        return Home(wanted.path, kind.what if kind else "a file", wanted.folder)
    if kind is None or not kind.folder:
        what = f"is {kind.what}" if kind else "is of no kind that is known here"
        raise ModelError(f"{name} {what}.", "Say where it belongs to keep it: --to FOLDER, as in --to Lora.")
    return Home(places.models_dir / kind.folder.removeprefix(_MODELS), kind.what, kind.folder)


def early_home(part: Path, places: Places) -> Home | None:
    """Where a file belongs of which only the beginning is there; None as long as that does not tell."""
    try:
        with part.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries = json.loads(file.read(length)) if length < part.stat().st_size - 8 else {}
        entries.pop("__metadata__", None)
        tensors = {name: TensorInfo(str(one["dtype"]), tuple(one["shape"])) for name, one in entries.items()}
        kind = kind_of_file(Header(tensors)) if tensors else None
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # what is wrong with it is told when it is whole
    if kind is None or not kind.folder:
        return None
    return Home(places.models_dir / kind.folder.removeprefix(_MODELS), kind.what, kind.folder)


def wanted_home(to: str, places: Places) -> Home | None:
    """The folder that a user names: a kind ("lora") or its folder ("Lora"), and folders in it ("Lora/people"); None
    where nothing is named.

    Raises:
        BadRequest: there is no such kind, or the folders lead elsewhere.
    """
    if not to.strip():
        return None
    first, *rest = to.strip().strip("/").split("/")
    kind = next((kind for kind in KINDS if first.lower() in _names(kind)), None)
    if kind is None:
        known = ", ".join(OWN[kind][0] for kind in KINDS)
        raise BadRequest(f'"{first}" is no folder of models.', f"Use one of: {known}; folders in it behind a stroke.")
    if any(not step or step.startswith(".") or plain_name(step) != step for step in rest):
        raise BadRequest(f'"{to}" is no folder below {OWN[kind][0]}.', "Use plain names with strokes between them.")
    home = places.home(kind)
    named = next((name for name in OWN[kind] if name.lower() == first.lower()), OWN[kind][0])
    home = home.parent / named if named != home.name else home
    return Home(home.joinpath(*rest), "", _MODELS + "/".join((named, *rest)))


def is_pickle(part: Path, name: str) -> bool:
    """Whether a file is a pickle, by its name or by what it begins with."""
    with part.open("rb") as file:
        return Path(name).suffix.lower() in PICKLES or looks_like_pickle(file.read(64))


def put(part: Path, target: Path) -> bool:
    """Move a file to its place; False where the same file is there already.

    Raises:
        BadRequest: another one is there. DiskError. OSError.
    """
    if target.exists() or target.is_symlink():
        if target.is_file() and target.stat().st_size == part.stat().st_size and sha256_of(target) == sha256_of(part):
            part.unlink()
            return False
        raise taken(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(part, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(part, target)
    return True


def taken(target: Path) -> BadRequest:
    """The error for a name that another file has."""
    return BadRequest(
        f"Another {target.name} is in {target.parent.name} already; it was not touched.",
        "Give the new one another name (--name), or move the old one away.",
    )


def _carry(part: Path, target: Path) -> None:
    """The same to another disk: it takes its name when it is whole."""
    check_room(target.name, target.parent, part.stat().st_size)
    near = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(part, near)
        with near.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(near, target)
    finally:
        near.unlink(missing_ok=True)
    part.unlink()


def _names(kind: Kind) -> set[str]:
    return {kind, kind.replace("_", "-"), *(name.lower() for name in OWN[kind])}
