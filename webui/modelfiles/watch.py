"""Looks at a file on its way, so that what cannot be kept is refused early."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from webui.checkpoints.header import PICKLES
from webui.checkpoints.places import Places
from webui.fetch.errors import FetchError
from webui.fetch.receive import Known, Progress, Wanted, forget
from webui.fetch.web import shown
from webui.modelfiles.order import Order
from webui.modelfiles.putting import Home, early_home, taken, wanted_home
from webui.schema.errors import BadRequest

HEADERS: Final = 16 * 2**20
"""Bytes within which a header is whole; later nothing is looked for any more."""


class Watch:
    """Refuses as early as it is known what would be refused in the end. called: the file's name, "" where the server
    tells it; alone: whether it is put under that name."""

    def __init__(
        self, order: Order, places: Places, progress: Progress, wanted: Wanted, called: str, alone: bool
    ) -> None:
        self._order, self._places, self._progress = order, places, progress
        self._wanted, self._called = wanted, called
        self._total = 0
        self._left = alone and not order.convert  # whether there is something to look at yet

    def starting(self, known: Known) -> None:
        """By its name, before anything is written."""
        name = self._called or known.name
        self._called, self._total = name, known.total
        if known.page:
            forget(self._wanted)
            address = shown(self._wanted.url)
            raise FetchError(f"{address} is a web page, not a model.", "The site may want a login: a token.")
        if Path(name).suffix.lower() in PICKLES and not self._order.convert:
            raise pickle_refused(name)
        home = wanted_home(self._order.to, self._places)
        if home is not None and self._left:
            self._left = False
            self._refuse_other(home)

    def progress(self, name: str, done: int, total: int) -> None:
        """By its header, when that is there."""
        home = early_home(self._wanted.part, self._places) if self._left else None
        self._left = self._left and home is None and done < HEADERS
        if home is not None:
            self._refuse_other(home)
        self._progress(name, done, total)

    def _refuse_other(self, home: Home) -> None:
        target = home.path / self._called
        if self._called and target.is_file() and self._total and target.stat().st_size != self._total:
            raise taken(target)


def pickle_refused(name: str) -> BadRequest:
    return BadRequest(
        f"{name} is a pickle, which could run foreign code; it was not fetched.",
        "Look for its safetensors version, or let it be converted: --convert reads it in a process of its own.",
    )
