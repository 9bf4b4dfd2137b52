"""Who changes the styles of this server, and the files that hold them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from webui.prompt.stylefile import checked, with_style, without_style
from webui.prompt.styles import Style, Styles
from webui.runtime.files import write_atomically
from webui.schema.errors import AlreadyThere, DiskError, Forbidden, NotFound

LOCKED = (
    "This server can be reached by others, so styles cannot be changed here. Change the file styles.csv on its own "
    "computer, or start it with --allow-remote-extensions."
)


class StyleBook:
    """The styles of a server, which can be changed. locked: nothing may be changed. own: the files that may be written,
    all where nothing is said; others belong to other programs.

    The file as it was before the last change stands beside it, as styles.csv.bak.
    """

    def __init__(self, styles: Styles, locked: bool = False, own: Sequence[Path] | None = None) -> None:
        self.locked = locked
        self.styles = styles
        self._own = tuple(styles.files) if own is None else tuple(own)
        self._lock = threading.Lock()

    def save(self, style: Style, replace: bool = False) -> None:
        """Write a style down: into the row of its name, else behind those that are there.

        Raises:
            Forbidden: the book is locked. AlreadyThere: there is one of this name, and it shall not be replaced.
            BadRequest: the style cannot be written, or a file not be read. DiskError: the file cannot be written.
        """
        self.may_change()
        style = checked(style)
        with self._lock:
            homes = self.styles.having(style.name)
            if homes and not replace:
                raise AlreadyThere(
                    f"There is a style {style.name[:60]!r} already.", "Replace it, or take another name."
                )
            own = [path for path in homes if path in self._own]
            there = [path for path in self._own if path.is_file()]
            _change((own or there or self._own)[0], lambda data: with_style(data, style))

    def delete(self, name: str) -> None:
        """Take a style out of all files.

        Raises:
            Forbidden, NotFound, BadRequest, DiskError.
        """
        self.may_change()
        with self._lock:
            homes = self.styles.having(name)
            if not homes:
                raise NotFound(f"There is no style {name[:60]!r}.")
            if any(path not in self._own for path in homes):
                raise Forbidden(f"The style {name[:60]!r} is kept by another program.", "Delete it there.")
            for path in homes:
                _change(path, lambda data: without_style(data, name))

    def may_change(self) -> None:
        """Raises Forbidden where no style may be changed."""
        if self.locked:
            raise Forbidden(LOCKED)


def _change(path: Path, work: Callable[[bytes], bytes]) -> None:
    """Make another text of a file, all at once. A link stays one, and who may read the file may read the new one."""
    path = path.resolve()
    try:
        before = path.read_bytes() if path.is_file() else None
        changed = work(before or b"")
        if before is not None:
            _write(path.with_name(f"{path.name}.bak"), before, path)
        _write(path, changed, path)
    except OSError as error:
        raise DiskError(
            f"{path.name} cannot be written: {error.strerror}.", "Look at the file and its folder."
        ) from None


def _write(path: Path, data: bytes, like: Path) -> None:
    mode = like.stat().st_mode & 0o777 if like.is_file() else None
    write_atomically(path, data)
    with contextlib.suppress(OSError):
        os.chmod(path, 0o644 if mode is None else mode)
