"""How long a call into the model may take before the engine counts as hanging."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import get_args

from webui.schema.asks import What


@dataclass(frozen=True)
class Patience:
    """Limits in seconds. A call may take `factor` times its kind's median, and at least `floor`.

    first: for a kind of call that this model has not finished once (no median is known, and a first call may compile
    kernels or draw a large picture on a slow processor); asked: the same for a question, such as a map to look at;
    loading: for reading a model from disk.
    """

    floor: float = 60.0
    factor: float = 20.0
    first: float = 600.0
    asked: float = 600.0
    loading: float = 1800.0


class Watchdog:
    """Times the calls that the engine reports. Safe from several threads."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._lock = threading.Lock()
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=50))
        self._running: tuple[str, float] | None = None

    def heard(self, kind: str, seconds: float | None) -> None:
        """A call of this kind began (seconds None) or ended after so many seconds."""
        with self._lock:
            if seconds is None:
                self._running = (kind, time.monotonic())
                return
            self._running = None
            if kind == "load":
                self._seconds.clear()  # another model: what is usual starts anew
            else:
                self._seconds[kind].append(seconds)

    def reset(self) -> None:
        """The engine started anew."""
        with self._lock:
            self._running = None
            self._seconds.clear()

    def overdue(self) -> str | None:
        """Why the engine counts as hanging, or None."""
        with self._lock:
            if self._running is None:
                return None
            kind, begun = self._running
            limit = self._limit(kind)
        waited = time.monotonic() - begun
        return f"it has not returned from {kind} in {limit:.0f} s" if waited > limit else None

    def _limit(self, kind: str) -> float:
        if kind == "load":
            return self._patience.loading
        if not self._seconds[kind]:
            return self._patience.asked if kind.partition(" ")[0] in get_args(What) else self._patience.first
        return max(self._patience.floor, self._patience.factor * statistics.median(self._seconds[kind]))
