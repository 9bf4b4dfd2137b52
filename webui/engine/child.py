"""The engine process: `python -m webui.engine.child OPTIONS` reads jobs from standard input and answers on its output.

One thread listens (so that a cancel is heard while a job runs), one works. When the web process goes, this one does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from webui.checkpoints.places import Places
from webui.engine.wire import Message, Wire
from webui.schema.asks import Answer
from webui.schema.errors import AtelierError
from webui.schema.events import Event, Failed
from webui.schema.memory import MemoryOptions
from webui.schema.names import PREVIEW_METHODS
from webui.schema.requests import parse_request


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve jobs until standard input ends, or until extension code left the process unfit for another one."""
    options = _options(arguments)
    wire = _take_over_pipes()
    worker = Worker(wire)
    try:
        engine = worker.engine = _engine(options, wire, worker)
    except AtelierError as error:
        wire.send({"type": "unusable", "error": error.to_json()})
        return
    threading.Thread(target=worker.listen, daemon=True, name="listener").start()
    import_module("transformers.models.clip.modeling_clip")  # seconds: better now than in the first job
    import_module("transformers.utils.logging").disable_progress_bar()  # it fills the log where nobody looks
    wire.send({"type": "ready", "device": str(engine.models.placement.device)})
    worker.work()
    os._exit(0)  # at once: threads that an extension started may never end


def _engine(options: Any, wire: Wire, worker: Worker) -> Any:
    from webui.engine.devices import place
    from webui.engine.engine import Engine
    from webui.engine.extensions import Folders

    return Engine(
        Places.from_json(options.places),
        place(options.device, options.dtype, options.unet_storage),
        watch=lambda kind, seconds: wire.send({"type": "call", "kind": kind, "seconds": seconds}),
        folders=Folders(tuple(map(Path, options.extensions_dir)), Path(options.data_dir) if options.data_dir else None),
        restart=worker.end,
        hold=lambda held: wire.send({"type": "held", "held": held.to_json()}),
        preview=options.preview,
        memory=MemoryOptions(options.vram, options.gpu_memory, options.memory),
    )


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m webui.engine.child")
    parser.add_argument("--places", required=True, help="of `Places.to_json`")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--unet-storage", default="auto")
    parser.add_argument("--preview", default="auto", choices=PREVIEW_METHODS)
    parser.add_argument("--vram", default="auto")
    parser.add_argument("--gpu-memory", type=float, default=0.0)
    parser.add_argument("--memory", type=float, default=0.0)
    parser.add_argument("--extensions-dir", action="append", default=[])
    parser.add_argument("--data-dir")
    return parser.parse_args(arguments)


def _take_over_pipes() -> Wire:
    """The pipes belong to the wire alone: what a library prints goes to standard error."""
    reader, writer = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = sys.stderr
    return Wire(os.fdopen(reader, "rb"), os.fdopen(writer, "wb"))


class Worker:
    """Takes messages in by one thread (`listen`) and does what they say by another (`work`)."""

    def __init__(self, wire: Wire) -> None:
        self.engine: Any = None
        self._wire = wire
        self._messages: queue.Queue[Message] = queue.Queue()
        self._ends = False

    def listen(self) -> None:
        """Hear messages until the web process is gone."""
        while (message := self._wire.receive()) is not None:
            if message.body["type"] == "cancel":
                self.engine.cancel(message.body["job_id"], message.body["mode"])
                continue
            if message.body["type"] == "job":
                self.engine.prepare(message.body["job_id"])
            elif message.body["type"] == "ask":
                self._ask(message)
            self._messages.put(message)
        # nobody waits for what runs here any more
        os._exit(0)

    def work(self) -> None:
        """Do what messages say, until this process is to end."""
        doing = {"job": self._run, "ask": self._answer, "extensions": self._refresh, "died": self._died,
                 "held": self._restore}  # fmt: skip
        while not self._ends:
            message = self._messages.get()
            doing[message.body["type"]](message)

    def end(self, reason: str) -> None:
        """Take no further job. It is told before the present one's end, so that none is handed over in between."""
        self._ends = True
        self._wire.send({"type": "restart", "reason": reason})

    def _ask(self, message: Message) -> None:
        from webui.engine.answers import Ask

        def reply(answer: Answer, frames: tuple[bytes, ...]) -> None:
            body = {"type": "answer", "id": message.body["id"], "answer": answer.model_dump(mode="json")}
            self._wire.send(body, frames)

        def begin() -> None:
            self._wire.send({"type": "asking", "id": message.body["id"]})

        images = dict(zip(message.body["images"], message.frames, strict=True))
        self.engine.ask(Ask(message.body["what"], message.body["body"], images, reply, begin))

    def _answer(self, _message: Message) -> None:
        """The question may have been answered already, between two calls of a job."""
        self.engine.answer_waiting()

    def _refresh(self, message: Message) -> None:
        self.engine.refresh(message.body["reload"])

    def _restore(self, message: Message) -> None:
        from webui.ext.faults import Held

        self.engine.restore(Held.from_json(message.body["held"]))

    def _run(self, message: Message) -> None:
        job_id = message.body["job_id"]

        def emit(event: Event, blob: bytes | None) -> None:
            body = {"type": "event", "event": event.model_dump(mode="json")}
            self._wire.send(body, [blob] if blob is not None else [])

        try:
            request = parse_request(message.body["request"])
            images = dict(zip(message.body["images"], message.frames, strict=True))
        except AtelierError as error:  # a job that was stored by another version
            emit(Failed(job_id=job_id, error=error.to_json()), None)
            return
        self.engine.run(job_id, request, images, emit)

    def _died(self, message: Message) -> None:
        """The process before this one ended in the middle of a job."""
        with contextlib.suppress(AtelierError):
            request = parse_request(message.body["request"])
            self.engine.job_died(message.body["job_id"], request, AtelierError.from_json(message.body["error"]))


if __name__ == "__main__":
    main()
