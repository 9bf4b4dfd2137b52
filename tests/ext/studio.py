"""An engine in this process that draws on a tiny random model, with extensions that a test writes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.ext.folders import write_extension
from webui.engine.answers import Ask
from webui.engine.engine import Engine
from webui.engine.extensions import Folders
from webui.engine.models import Models
from webui.ext.faults import Held
from webui.ext.state import ExtState
from webui.schema.asks import Answer
from webui.schema.events import Done, Event, ExtensionTimes, Failed, ImageReady, Note, Progress
from webui.schema.requests import Request, Txt2Img

PLAIN = {"model": "tiny", "prompt": "a red ball", "seed": 5, "subseed": 0, "width": 64, "height": 48, "steps": 3}


class Studio:
    """Draws; remembers the events of the last job. models: kept from test to test. restarts: why the engine process
    would have ended. held: what the next one would have been told. on_progress: called in the middle of a job."""

    def __init__(self, models: Models, home: Path) -> None:
        self.folder, self.data = home / "extensions", home / "data"
        self.folder.mkdir()
        self.data.mkdir()
        self.state = ExtState(self.data)
        self.restarts: list[str] = []
        self.events: list[Event] = []
        self.blobs: list[bytes] = []
        self.on_progress: Callable[[], Any] = lambda: None
        self.held: list[Held] = []
        self._models = models
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        models = self._models
        engine = Engine(
            models.catalogue.models_dir, models.placement, folders=Folders((self.folder,), self.data),
            restart=self.restarts.append, hold=self.held.append,
        )  # fmt: skip
        engine.models = models  # reading a checkpoint takes longer than drawing with it
        return engine

    def restart(self) -> None:
        """Go on with another engine, as after the end of its process: it knows what was held against extensions."""
        self.engine.extensions.host.close()
        self.engine = self._new_engine()
        self.engine.restore(Held.from_json(json.loads(json.dumps(self.held[-1].to_json()))))

    def add(self, id: str, main: str, hooks: str = "", **more: Any) -> None:
        """Install and allow an extension. hooks: names, separated by blanks."""
        head = f"hooks = [{', '.join(repr(name) for name in hooks.split())}]".replace("'", '"')
        write_extension(self.folder, id, main, head=head, **more)
        self.state.enable(id, allow=True)
        self.engine.refresh([id])

    def off(self, *ids: str) -> None:
        for id in ids:
            self.state.disable(id)
        self.engine.refresh()

    def run(self, request: Request, images: dict[str, bytes] | None = None) -> Event:
        """The last event of a job."""
        self.events, self.blobs = [], []

        def emit(event: Event, blob: bytes | None) -> None:
            self.events.append(event)
            if isinstance(event, Progress):
                self.on_progress()
            if isinstance(event, ImageReady) and blob is not None:
                self.blobs.append(blob)

        self.engine.run("job", request, images or {}, emit)
        return self.events[-1]

    def ask(self, preprocessor: str) -> list[Answer]:
        """Ask for the map of a small picture; the list holds the answer once it is there."""
        data, answers = io.BytesIO(), list[Answer]()
        Image.new("RGB", (16, 16)).save(data, "PNG")
        sha256 = hashlib.sha256(data.getvalue()).hexdigest()
        body = {"unit": {"preprocessor": preprocessor}, "image": {"sha256": sha256}}
        self.engine.ask(
            Ask("preprocess", body, {sha256: data.getvalue()}, lambda answer, frames: answers.append(answer))
        )
        return answers

    def draw(self, **fields: Any) -> list[bytes]:
        """The pixels of each picture of a job that must end well."""
        last = self.run(Txt2Img(**{**PLAIN, **fields}))
        assert isinstance(last, Done), last
        return self.blobs

    def run_any(self, **fields: Any) -> Event:
        """The last event of a job that may end in any way."""
        return self.run(Txt2Img(**{**PLAIN, **fields}))

    def failure(self, **fields: Any) -> str:
        """What a job fails with, that must fail."""
        last = self.run(Txt2Img(**{**PLAIN, **fields}))
        assert isinstance(last, Failed), last
        return last.error["message"]

    @property
    def notes(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Note)]

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def times(self) -> dict[str, dict[str, float]]:
        found = self.of(ExtensionTimes)
        return found[0].seconds if found else {}

    def service(self, id: str, name: str) -> Any:
        """Something that the code of an active extension holds."""
        return getattr(self.engine.extensions.host.activate(id).module, name)
