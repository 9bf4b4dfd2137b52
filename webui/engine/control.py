"""The owner's wish to stop, readable from the thread that does the work."""

from __future__ import annotations

import threading

from webui.engine.interface import Mode


class Control:
    """One per job. `interrupt` ends the job, `skip` ends the present batch; both keep what has been drawn so far.

    cut_short: whether the sampling of the present batch was ended before its time.
    """

    def __init__(self) -> None:
        self._interrupt = threading.Event()
        self._skip = threading.Event()
        self.cut_short = False

    def ask(self, mode: Mode) -> None:
        (self._interrupt if mode == "interrupt" else self._skip).set()

    @property
    def interrupted(self) -> bool:
        return self._interrupt.is_set()

    @property
    def stop_sampling(self) -> bool:
        """Whether the sampling that runs now shall end."""
        return self._interrupt.is_set() or self._skip.is_set()

    def next_batch(self) -> None:
        """A skip concerns one batch alone."""
        self._skip.clear()
        self.cut_short = False


class Stopped(Exception):
    """The owner stopped the job before there was anything to show."""
