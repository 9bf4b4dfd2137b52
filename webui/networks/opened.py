"""Network files as they fit one loaded model, kept between jobs: a file is read again when it has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from webui.networks.files import NetworkStamp, network_stamp

OPENED_BYTES = 2**30
"""Size of the files whose tensors are kept beside those that were used last."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Opened:
    stamp: NetworkStamp
    content: Any


class OpenedFiles:
    """Those of one model, by path and by the name that the user gave them. limit: bytes of files."""

    def __init__(self, limit: int = OPENED_BYTES) -> None:
        self._limit = limit
        self._opened: OrderedDict[tuple[Path, str], _Opened] = OrderedDict()

    def get(self, path: Path, name: str, opened: Callable[[], T]) -> T:
        """What is kept of a file, or what opening it gives. Raises what opening raises."""
        key = path, name
        try:
            stamp = network_stamp(path)
        except OSError:
            return opened()  # which says why
        known = self._opened.get(key)
        if known is None or known.stamp != stamp:
            self._opened.pop(key, None)  # its memory may be needed for the new one
            known = self._opened[key] = _Opened(stamp, opened())
        self._opened.move_to_end(key)
        content: T = known.content
        return content

    def trim(self) -> None:
        """Let the files that were not used for the longest go; the last one stays, however large it is."""
        sizes = {key: opened.stamp.bytes for key, opened in self._opened.items()}
        for key in list(sizes)[:-1]:
            if sum(sizes.values()) <= self._limit:
                return
            del self._opened[key], sizes[key]

    def clear(self) -> None:
        self._opened.clear()
