"""Makes guessing passwords slow, for one user as for one address."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

FREE_TRIES = 5
LONGEST_WAIT = 60.0
FORGOTTEN_AFTER = 900.0
MOST_KEYS = 10_000


@dataclass(frozen=True)
class _Failures:
    count: int
    last: float

    @property
    def until(self) -> float:
        """When the next try is allowed: the wait doubles with each failure after the free ones."""
        over = self.count - FREE_TRIES
        return self.last + min(2.0**over, LONGEST_WAIT) if over >= 0 else self.last


class Throttle:
    """Counts a try as failed until it is known to have succeeded, so that many at once gain nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, _Failures] = {}

    def begin(self, keys: Iterable[str]) -> float:
        """Seconds to wait before a try of these keys is allowed; 0: it is, and counts."""
        keys = tuple(keys)
        with self._lock:
            now = self._clock()
            found = [self._recent(key, now) for key in keys]
            wait = max(failures.until - now for failures in found)
            if wait > 0:
                return wait
            for key, failures in zip(keys, found, strict=True):
                self._failures.pop(key, None)
                self._failures[key] = _Failures(failures.count + 1, now)
            while len(self._failures) > MOST_KEYS:
                self._failures.pop(next(iter(self._failures)))
            return 0.0

    def succeeded(self, keys: Iterable[str]) -> None:
        """The try was right: its keys start anew."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _recent(self, key: str, now: float) -> _Failures:
        failures = self._failures.get(key)
        if failures is None or now - failures.last > FORGOTTEN_AFTER:
            return _Failures(0, now)
        return failures
