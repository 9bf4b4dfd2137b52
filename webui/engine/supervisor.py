"""Keeps one child process of the engine running: starts it, listens to it, ends it where it hangs. Needs no torch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from webui.engine.spawn import EngineOptions, Spawned
from webui.engine.watchdog import Watchdog
from webui.engine.wire import Message

LONGEST_PAUSE = 30.0


class Supervisor:
    """A child process that is started again whenever it ends, until `stop` or `give_up`.

    heard: is called with what it says, but for the calls that it reports. gone: with the reason when it has ended; true
    where the next one is to start at once. Both are called from a thread of the supervisor's own.
    """

    def __init__(self, options: EngineOptions, heard: Callable[[Message], None], gone: Callable[[str], bool]) -> None:
        self._options = options
        self._heard = heard
        self._gone = gone
        self._child: Spawned | None = None
        self._watchdog = Watchdog(options.patience)
        self._hang_reason: str | None = None
        self._stopping = threading.Event()
        self._given_up = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the child process; returns at once."""
        for target in (self._supervise, self._watch):
            thread = threading.Thread(target=target, daemon=True, name=f"engine-{target.__name__.strip('_')}")
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the child process and the threads."""
        self._stopping.set()
        self._kill()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def give_up(self) -> None:
        """Start no further child: it would fail as this one does."""
        self._given_up = True

    def send(self, body: dict[str, Any], frames: tuple[bytes, ...] = ()) -> None:
        """Tell the child; one that has just gone hears nothing, and `gone` is called."""
        child = self._child
        if child is not None:
            with contextlib.suppress(OSError):
                child.wire.send(body, frames)

    def _supervise(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            begun = time.monotonic()
            reason = self._run_child()
            if self._stopping.is_set() or self._given_up:
                return
            if self._gone(reason):
                continue
            # a child that falls at once, again and again, must not keep the machine busy
            pause = 0.5 if time.monotonic() - begun > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            self._stopping.wait(pause)

    def _run_child(self) -> str:
        """Start a child, pass its messages on until it ends, and say why it ended."""
        self._watchdog.reset()
        child = self._child = Spawned(self._options.command)
        if self._stopping.is_set():
            child.kill()
        for message in child.messages():
            if message.body["type"] == "call":
                self._watchdog.heard(message.body["kind"], message.body["seconds"])
            else:
                self._heard(message)
        self._child = None
        ended = child.end()
        hang, self._hang_reason = self._hang_reason, None
        return hang or ended

    def _watch(self) -> None:
        while not self._stopping.wait(0.25):
            reason = self._watchdog.overdue()
            if reason is not None:
                self._watchdog.reset()
                self._hang_reason = reason
                self._kill()

    def _kill(self) -> None:
        child = self._child
        if child is not None:
            child.kill()
