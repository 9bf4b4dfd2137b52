"""One server for one data folder: two would take each other's jobs."""

from __future__ import annotations

from pathlib import Path

from webui.fetch.file_lock import take
from webui.schema.errors import AtelierError, DiskError


class FolderInUse(AtelierError):
    """Another server uses the folder."""

    code = "folder_in_use"
    status = 503


class FolderLock:
    """Holds `folder`/lock until released or until the process ends, however it ends.

    Raises:
        FolderInUse: another process holds it. DiskError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(folder / "lock", "ab")  # noqa: SIM115  held open: closing it gives the lock up
        except OSError as error:
            cure = "Choose another one with --data-dir."
            raise DiskError(f"The data folder {folder} cannot be used: {error.strerror}.", cure) from error
        try:
            take(self._file.fileno())
        except OSError:
            self._file.close()
            raise FolderInUse(
                f"The data folder {folder} is in use by another server.",
                "Use that one, stop it, or choose another folder with --data-dir.",
            ) from None

    def release(self) -> None:
        self._file.close()
