"""The one way in which an extension's code is called: measured, and named when it fails."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from webui.ext.hooks import hook_named
from webui.ext.loader import describe
from webui.ext.report import Timing
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import AtelierError, ExtensionError

FAULTS_IN_A_ROW: Final = 3
CURE: Final = "Switch it off under Extensions to do without it, or mend it and reload it."
_LOG = logging.getLogger(__name__)

Function = Callable[..., Any]
Looker = Callable[[str, str], None]
"""looker(owner, what): called before, or after, each call of an extension's code, whether or not it went well."""


class Calls:
    """Timings, faults and notes of one host.

    passing: exceptions that are the core's own (a stop) and go through unchanged, as does a full device. before,
    looker: see to it that what code leaves behind can be laid at its door.
    """

    def __init__(self, passing: tuple[type[BaseException], ...] = ()) -> None:
        self._passing = passing
        self._times: dict[tuple[str, str], Timing] = {}
        self._in_a_row: dict[tuple[str, str], int] = {}
        self._last: dict[str, tuple[str, str]] = {}
        self._notes: list[str] = []
        self.before: Looker | None = None
        self.looker: Looker | None = None

    def run(self, owner: str, what: str, folder: Path, function: Function, *given: Any, **named: Any) -> Any:
        """Call a function of an extension. what: the hook's name, or words such as "preprocessor canny".

        An observer's error becomes a note, and it is no longer called after three in a row; None is returned then.
        Raises:
            ExtensionError: names the extension, the hook, the error and its place.
            AtelierError: of the kind that the extension raised, with its name put before.
        """
        with self.running(owner, what, folder) as wanted:
            return function(*given, **named) if wanted else None
        return None

    @contextlib.contextmanager
    def running(self, owner: str, what: str, folder: Path) -> Iterator[bool]:
        """As `run`, for a block of code; it is given whether the function may be called at all. The closing of a
        generator that waits in the block goes through."""
        key = (owner, what)
        if self.is_off(owner, what):
            yield False
            return
        if self.before is not None:
            self.before(owner, what)
        start = time.perf_counter()
        try:
            yield True
        except self._passing:
            raise
        except BaseException as error:  # KeyboardInterrupt too: of the code's own, it must not end the engine
            if is_closing(error) or is_out_of_memory(error):
                raise
            self._fault(key, error, folder)
        else:
            self._in_a_row.pop(key, None)
            if self._last.get(owner, ("", ""))[0] == what:
                del self._last[owner]
        finally:
            self._times[key] = self._times.get(key, Timing()).plus(time.perf_counter() - start)
            self.look(owner, what)

    def look(self, owner: str, what: str) -> None:
        """Code of an extension has run."""
        if self.looker is not None:
            self.looker(owner, what)

    def _fault(self, key: tuple[str, str], error: BaseException, folder: Path) -> None:
        """Raise what a job fails with; for an observer, leave a note."""
        owner, what = key
        if isinstance(error, ExtensionError):  # another extension's, met in a service of it
            raise error
        said = f"failed in {what}: {describe(error, folder)}"
        self._last[owner] = (what, said)
        if not is_observer(what):
            raise named(error, owner, said) from error
        _LOG.warning('extension "%s" %s', owner, said, exc_info=error)
        self._in_a_row[key] = self._in_a_row.get(key, 0) + 1
        ended = f" It failed {FAULTS_IN_A_ROW} times in a row and is no longer called." if self.is_off(*key) else ""
        self.note(f'Extension "{owner}" {said}.{ended}')

    def is_off(self, owner: str, what: str) -> bool:
        """Whether an observer failed so often that it is not called any more."""
        return self._in_a_row.get((owner, what), 0) >= FAULTS_IN_A_ROW

    def switched_off(self, owner: str) -> tuple[str, ...]:
        return tuple(what for id, what in sorted(self._in_a_row) if id == owner and self.is_off(id, what))

    def last_fault(self, owner: str) -> str:
        """What went wrong last, until the same function works again."""
        return self._last.get(owner, ("", ""))[1]

    def times(self, owner: str) -> Mapping[str, Timing]:
        """Since the start, by what was called."""
        return {what: timing for (id, what), timing in list(self._times.items()) if id == owner}

    def note(self, text: str) -> None:
        """Leave a note for the user of the present job."""
        if text not in self._notes:
            self._notes.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """The notes since the last time this was asked."""
        notes = tuple(self._notes)
        self._notes.clear()
        return notes

    def forgive(self, owner: str) -> None:
        """Forget the faults of an extension that is reloaded."""
        self._last.pop(owner, None)
        for key in [key for key in self._in_a_row if key[0] == owner]:
            del self._in_a_row[key]


def is_closing(error: BaseException) -> bool:
    """Whether a generator was closed while it waited within a block, rather than called code having raised."""
    place = error.__traceback__  # the block's manager, then the frame of the block, then what that called
    below = place.tb_next if place is not None else None
    return isinstance(error, GeneratorExit) and (below is None or below.tb_next is None)


def is_observer(what: str) -> bool:
    """Whether an error in this hook leaves the job alone."""
    hook = hook_named(what)
    return hook is not None and hook.observer


def named(error: BaseException, owner: str, said: str) -> AtelierError:
    """The error that a job fails with. What the extension says with an error of ours keeps its kind and its cure."""
    if isinstance(error, AtelierError):
        return type(error)(f'Extension "{owner}": {error.message}', error.cure)
    return ExtensionError(f'Extension "{owner}" {said}.', CURE)
