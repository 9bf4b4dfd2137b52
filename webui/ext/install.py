"""Puts extensions into the extensions folder and takes them out again. None of their code runs.

Everything is first brought into a hidden folder beside its place, looked at, and then takes its name at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from webui.ext.bundled import read_bundled
from webui.ext.discover import Found
from webui.ext.manifest import MANIFEST, Manifest, read_manifest
from webui.schema.errors import AtelierError, BadRequest, DiskError

LARGEST: Final = 512 * 2**20
MOST_FILES: Final = 20_000
GIT_SECONDS: Final = 600
_URL = re.compile(r"(https?|ssh|git|file)://[^\s-][^\s]*|[\w.-]+@[\w.-]+:[^\s]+")
_CHUNK = 2**20
_LEFT_OUT: Final = ("__pycache__", "*.pyc")


class InstallError(AtelierError):
    """An extension that cannot be installed: not reachable, not safe, or none at all."""

    code = "not_installed"
    status = 422


def install(source: str, into: Path) -> Manifest:
    """Install from a folder, a .zip file or a git URL. Returns its manifest; it is off until somebody allows it.

    Raises:
        InstallError: what is wrong with the source. ManifestError: what is wrong with its manifest. DiskError.
    """
    path = Path(source).expanduser()
    if _URL.fullmatch(source):
        return install_git(source, into)
    if path.is_dir():
        return install_folder(path, into)
    if path.is_file() and zipfile.is_zipfile(path):
        return install_zip(path.read_bytes(), into)
    raise InstallError(
        f'"{source}" is neither a folder, nor a .zip file, nor a git address.',
        "Git addresses begin with https:// or ssh://, or look like user@host:path.",
    )


def install_folder(folder: Path, into: Path) -> Manifest:
    """Install a copy of a folder. Raises as `install`."""
    if into.resolve().is_relative_to(folder.resolve()):
        raise InstallError(f"{folder} holds the extensions folder itself.", "Name the folder of the extension alone.")
    _check_tree(folder)
    with _staging(into) as place:
        shutil.copytree(folder, place / "new", ignore=shutil.ignore_patterns(*_LEFT_OUT))
        return _take_place(place / "new", into)


def install_zip(data: bytes, into: Path) -> Manifest:
    """Install what a zip file holds. No name in it may lead out of its folder, nor be a link. Raises as `install`."""
    try:
        archive = zipfile.ZipFile(BytesIO(data))
        with archive, _staging(into) as place:
            _unpack(archive, place / "new")
            return _take_place(place / "new", into)
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zipfile.LargeZipFile) as error:
        raise InstallError(f"The zip file cannot be read: {error}.") from error


def install_git(url: str, into: Path) -> Manifest:
    """Install the newest state of a git repository; its .git stays, so that `git pull` works. Raises as `install`."""
    with _staging(into) as place:
        command = ["git", "-c", "protocol.ext.allow=never", "-c", "core.symlinks=false", "clone", "--quiet"]
        _run([*command, "--depth", "1", "--", url, str(place / "new")])
        _check_tree(place / "new")
        return _take_place(place / "new", into)


def remove(found: Found) -> None:
    """Delete the folder of an extension; of one that is a link, the link. Raises BadRequest, DiskError."""
    if found.bundled:
        raise BadRequest(f'The extension "{found.id}" comes with the program.', "Switch it off instead.")
    try:
        if found.folder.is_symlink():
            found.folder.unlink()
            return
        hidden = Path(tempfile.mkdtemp(dir=found.folder.parent, prefix=".removed-"))
        os.replace(found.folder, hidden / "old")  # at once: nobody finds half an extension
        shutil.rmtree(hidden, onerror=_make_writable)
    except OSError as error:
        raise DiskError(f"{found.folder} was not removed: {error.strerror or error}.") from error


def _make_writable(function: Callable[[str], object], path: str, _info: object) -> None:
    """What git wrote is read-only, which Windows does not delete."""
    os.chmod(path, stat.S_IWRITE)
    function(path)


@contextlib.contextmanager
def _staging(into: Path) -> Iterator[Path]:
    """A hidden folder beside the place where the extension will be. Raises DiskError."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=into, prefix=".install-"))
    except OSError as error:
        raise DiskError(f"Nothing can be installed into {into}: {error.strerror or error}.") from error
    try:
        yield place
    except shutil.Error as error:
        raise DiskError(f"The extension was not copied: {error}.") from error
    except OSError as error:
        raise DiskError(f"The extension was not installed: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _take_place(new: Path, into: Path) -> Manifest:
    """Move an extension to the folder of its id."""
    root = _root(new)
    manifest = read_manifest(root)
    place = into / manifest.id
    if manifest.id in read_bundled():
        raise InstallError(f'The id "{manifest.id}" belongs to an extension that comes with the program.')
    if os.path.lexists(place):
        raise InstallError(f'"{manifest.id}" is already installed in {place}.', "Remove it first.")
    os.replace(root, place)
    return manifest


def _root(new: Path) -> Path:
    """The folder that holds the manifest: the one given, or the only one in it."""
    inner = [entry for entry in new.iterdir() if entry.is_dir() and (entry / MANIFEST).is_file()]
    return new if (new / MANIFEST).exists() or len(inner) != 1 else inner[0]


def _unpack(archive: zipfile.ZipFile, place: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise InstallError(f"The zip file holds more than {MOST_FILES:,} files.")
    names = [_safe_name(entry) for entry in entries]
    if len({name.casefold() for name in names}) != len(names):
        raise InstallError("The zip file holds two files of one name.")
    left = LARGEST
    for entry, name in zip(entries, names, strict=True):
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, target.open("xb") as file:
            while data := packed.read(_CHUNK):  # what is counted is what comes out: a header may lie
                left -= len(data)
                if left < 0:
                    raise InstallError(f"The zip file holds more than {LARGEST // 2**20} MiB.")
                file.write(data)


def _safe_name(entry: zipfile.ZipInfo) -> str:
    """The path of a file within the archive. Raises InstallError where it leads elsewhere or is no plain file."""
    name, windows = entry.filename, PureWindowsPath(entry.filename)
    if windows.drive or windows.root or ".." in windows.parts or "\\" in name or "\0" in name or ":" in name:
        raise InstallError(f"The zip file holds a path that leaves its folder: {name!r}.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InstallError(f"The zip file holds something that is no plain file: {name!r}.")
    return str(PurePosixPath(name))


def _check_tree(folder: Path) -> None:
    """Raises InstallError where a folder holds a link, or too much."""
    size = count = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink():
                raise InstallError(f"The folder holds a link: {path.relative_to(folder)}.")
            count += 1
            size += path.stat().st_size if name in files else 0
            if size > LARGEST or count > MOST_FILES:
                raise InstallError(f"The folder holds more than {LARGEST // 2**20} MiB or {MOST_FILES:,} files.")


def _run(command: Sequence[str]) -> None:
    """Run git without letting it ask for a password. Raises InstallError with its last words."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes", "LC_ALL": "C"}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise InstallError("Git is not installed.", "Install it, or download the extension as a .zip file.") from None
    except subprocess.TimeoutExpired:
        raise InstallError(f"Git did not finish within {GIT_SECONDS // 60} minutes.") from None
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or ["no reason given"]
        said = next((line for line in lines if line.startswith("fatal: ")), lines[-1])
        raise InstallError(f"Git could not fetch it: {said.removeprefix('fatal: ').rstrip('.')}.")
