"""The engine process: `python -m webui.engine.child OPTIONS` reads jobs from standard input and answers on its output.

One thread listens (so that a cancel is heard while a job runs), one works. When the web process goes, this one does.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from webui.engine.wire import Message, Wire
from webui.schema.errors import AtelierError
from webui.schema.events import Event, Failed
from webui.schema.requests import parse_request


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve jobs until standard input ends."""
    options = _options(arguments)
    wire = _take_over_pipes()
    from webui.engine.devices import place
    from webui.engine.engine import Engine

    try:
        engine = Engine(
            Path(options.models_dir),
            place(options.device, options.dtype),
            watch=lambda kind, seconds: wire.send({"type": "call", "kind": kind, "seconds": seconds}),
        )
    except AtelierError as error:
        wire.send({"type": "unusable", "error": error.to_json()})
        return
    jobs: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_listen, args=(wire, engine, jobs), daemon=True, name="listener").start()
    import_module("transformers.models.clip.modeling_clip")  # seconds: better now than in the first job
    wire.send({"type": "ready", "device": str(engine.models.placement.device)})
    while True:
        _work(wire, engine, jobs.get())


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m webui.engine.child")
    parser.add_argument("--models-dir", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    return parser.parse_args(arguments)


def _take_over_pipes() -> Wire:
    """The pipes belong to the wire alone: what a library prints goes to standard error."""
    reader, writer = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    sys.stdout = sys.stderr
    return Wire(os.fdopen(reader, "rb"), os.fdopen(writer, "wb"))


def _listen(wire: Wire, engine: Any, jobs: queue.Queue[Message]) -> None:
    while (message := wire.receive()) is not None:
        if message.body["type"] == "job":
            engine.prepare(message.body["job_id"])
            jobs.put(message)
        elif message.body["type"] == "cancel":
            engine.cancel(message.body["job_id"], message.body["mode"])
    # the web process is gone: nobody waits for what runs here
    os._exit(0)


def _work(wire: Wire, engine: Any, message: Message) -> None:
    job_id = message.body["job_id"]

    def emit(event: Event, blob: bytes | None) -> None:
        wire.send({"type": "event", "event": event.model_dump(mode="json")}, [blob] if blob is not None else [])

    try:
        request = parse_request(message.body["request"])
        images = dict(zip(message.body["images"], message.frames, strict=True))
    except AtelierError as error:  # a job that was stored by another version
        emit(Failed(job_id=job_id, error=error.to_json()), None)
        return
    engine.run(job_id, request, images, emit)


if __name__ == "__main__":
    main()
