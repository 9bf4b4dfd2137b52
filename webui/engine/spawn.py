"""The engine's child process: how it is started, spoken to, and why it ended. Needs no torch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from webui.checkpoints.places import Places
from webui.engine.watchdog import Patience
from webui.engine.wire import BrokenWire, Message, Wire
from webui.schema.memory import MemoryOptions
from webui.schema.names import PreviewMethod
from webui.schema.storage import UnetStorage

KEPT_LINES = 40


@dataclass(frozen=True)
class EngineOptions:
    """How the child process is started.

    where: the models. extensions: folders whose subfolders are extensions. data_dir: where it stands which of them are
    on (without it, the bundled ones alone), and what is kept of model files.
    """

    where: Places | Path
    device: str = "auto"
    dtype: str = "auto"
    unet_storage: UnetStorage = "auto"
    preview: PreviewMethod = "auto"
    patience: Patience = field(default_factory=Patience)
    extensions: tuple[Path, ...] = ()
    data_dir: Path | None = None
    memory: MemoryOptions = field(default_factory=MemoryOptions)

    @property
    def command(self) -> list[str]:
        command = [
            sys.executable, "-m", "webui.engine.child",
            "--places", Places.of(self.where).to_json(), "--device", self.device, "--dtype", self.dtype,
            "--unet-storage", self.unet_storage, "--preview", self.preview,
            *self.memory.arguments,
        ]  # fmt: skip
        for folder in self.extensions:
            command += ["--extensions-dir", str(folder)]
        return command if self.data_dir is None else [*command, "--data-dir", str(self.data_dir)]


class Spawned:
    """One child process that runs. What it prints is shown as it comes. wire: to speak to it."""

    def __init__(self, command: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment())
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pipes: tuple[IO[bytes], ...] = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._errors = threading.Thread(target=self._copy_errors, args=(self._process.stderr,), daemon=True)
        self._errors.start()
        self._nonsense = ""
        self.wire = Wire(self._process.stdout, self._process.stdin)

    def messages(self) -> Iterator[Message]:
        """What it says, until it ends or says what is no message."""
        try:
            while (message := self.wire.receive()) is not None:
                yield message
        except BrokenWire as error:
            self._nonsense = f"it sent {error}"

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> str:
        """End it where it still runs, let go of its pipes, and say why it ended."""
        self._process.kill()
        code = self._process.wait()
        self._errors.join(timeout=2)
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()
        return self._nonsense or _why(code, list(self._last_lines))

    def _copy_errors(self, pipe: IO[bytes]) -> None:
        """What the child prints is shown, and its end kept for the reason of a fall."""
        for line in iter(pipe.readline, b""):
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            sys.stderr.write(f"[engine] {text}\n")


def _environment() -> dict[str, str]:
    """The child's environment: no hub requests, and output that is not held back."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return {**os.environ, **quiet, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


def _why(code: int, last_lines: list[str]) -> str:
    """An exit code in words, with the last line the child printed."""
    if code < 0:
        try:
            how = f"killed by {signal.Signals(-code).name}"
        except ValueError:
            how = f"killed by signal {-code}"
    else:
        how = f"exit code {code}"
    return f"{how}; its last words: {last_lines[-1]}" if last_lines else how
