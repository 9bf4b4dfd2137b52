"""What becomes of the engine's events: entries of the ledger, pictures on the disk, notes."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from webui.images.infotext import PARAMETERS, texts_of
from webui.images.save import png_bytes
from webui.runtime.inputs import Inputs
from webui.runtime.ledger import Ledger
from webui.runtime.outputs import Outputs
from webui.runtime.records import SavedImage
from webui.schema.errors import DiskError
from webui.schema.events import (
    Done,
    Event,
    Failed,
    ImageReady,
    MapReady,
    Note,
    Prepared,
    Preview,
    Progress,
    Stage,
    Started,
    UnitReport,
)  # fmt: skip
from webui.schema.requests import Request, parse_request
from webui.schema.results import ImageInfo, JobView, MapView, ModelInfo, UnitView, by_rank

LONGEST_HASH = 60.0


@dataclass
class Run:
    """The job that the engine has now."""

    view: JobView
    request: Request
    model: ModelInfo
    hashing: Future[ModelInfo] | None
    preview: bytes = b""
    previews: int = 0
    notes: tuple[str, ...] = ()
    units: tuple[UnitView, ...] = ()
    maps: tuple[MapView, ...] = ()
    images: tuple[ImageInfo, ...] = ()
    ranks: tuple[float | None, ...] = ()
    unsaved: DiskError | None = None
    over: threading.Event = field(default_factory=threading.Event)


class Bookkeeper:
    """Writes what the engine tells of a job into the ledger, its pictures to the disk, and its maps to the inputs."""

    def __init__(self, ledger: Ledger, inputs: Inputs, outputs: Outputs) -> None:
        self._ledger = ledger
        self._inputs = inputs
        self._outputs = outputs

    def take(self, run: Run, event: Event, blob: bytes | None) -> None:
        """blob: the pixels or the JPEG that came with an event."""
        match event:
            case Started():
                self._ledger.change(run.view.id, message="")
            case Stage():
                self._ledger.change(run.view.id, message=event.message)
            case Progress():
                self._take_progress(event)
            case Preview():
                run.preview, run.previews = blob or b"", run.previews + 1
                self._ledger.change(run.view.id, preview=run.previews)
            case ImageReady():
                self._take_image(run, event, blob or b"")
            case Prepared():
                run.request = parse_request(event.request)
            case MapReady():
                self._take_map(run, event, blob or b"")
            case UnitReport():
                self._take_report(run, event)
            case Note():
                self._note(run, event.message)
            case Done():
                self._end(run, event)
            case Failed():
                self._ledger.finish(run.view.id, "failed", error=event.error)

    def _take_progress(self, event: Progress) -> None:
        stopping = self._ledger.shall_stop(event.job_id)
        self._ledger.change(
            event.job_id,
            step=event.step,
            steps=event.steps,
            image=event.image,
            fraction=event.fraction,
            eta_seconds=event.eta_seconds,
            message="stopping" if stopping else "",
        )

    def _take_image(self, run: Run, event: ImageReady, pixels: bytes) -> None:
        """Save first, then list, then tell: a picture that a view names is on the disk."""
        image = Image.frombytes("RGB", (event.width, event.height), pixels)
        texts = texts_of(run.request, self._model(run), event)
        path = self._save(run, event, image, texts)
        if path is None:
            return
        info = ImageInfo(
            id=secrets.token_hex(16),
            job_id=event.job_id,
            index=event.index,
            seed=event.seed,
            width=event.width,
            height=event.height,
            infotext=texts[PARAMETERS],
        )
        self._outputs.register(SavedImage(info, run.view.owner, path))
        run.images, run.ranks = (*run.images, info), (*run.ranks, event.rank)
        self._ledger.change(run.view.id, images=run.images)

    def _take_map(self, run: Run, event: MapReady, pixels: bytes) -> None:
        """Keep a map beside the pictures that were handed in, so that a next request can name it."""
        if not event.save:
            return
        try:
            ref = self._inputs.add(png_bytes(Image.frombytes("RGB", (event.width, event.height), pixels)))
        except DiskError as error:
            self._note(run, f"The map of control unit {event.unit} is lost: {error.message}")
            return
        told = event.model_dump(include={"unit", "label", "width", "height", "data"})
        run.maps += (MapView(sha256=ref.sha256, **told),)
        self._ledger.change(run.view.id, maps=run.maps)

    def _take_report(self, run: Run, event: UnitReport) -> None:
        report = UnitView.model_validate(event.model_dump(exclude={"job_id", "type"}))
        others = (one for one in run.units if (one.unit, one.part) != (report.unit, report.part))
        run.units = tuple(sorted((*others, report), key=lambda one: (one.unit, one.part)))
        self._ledger.change(run.view.id, units=run.units)
        if report.note:
            self._note(run, f"Control unit {report.unit}: {report.note}")

    def _model(self, run: Run) -> ModelInfo:
        """The model with its hash, unless that takes far longer than drawing with it."""
        if run.hashing is not None:
            with contextlib.suppress(TimeoutError, CancelledError):
                run.model = run.hashing.result(LONGEST_HASH)
            run.hashing = None
        return run.model

    def _save(self, run: Run, event: ImageReady, image: Image.Image, texts: Mapping[str, str]) -> Path | None:
        """The picture's file; a note, and a file that lasts as long as the server, when the disk refuses."""
        try:
            return self._outputs.save(run.view.kind, image, texts, event.seed)
        except DiskError as error:
            run.unsaved = error
        try:
            path = self._outputs.keep_aside(image, texts, event.seed)
        except DiskError:
            self._note(run, f"Picture {event.index + 1} is lost: {run.unsaved.message}")
            return None
        message = f"Picture {event.index + 1}: {run.unsaved.message} Download it before the server is stopped."
        self._note(run, message)
        return path

    def _note(self, run: Run, message: str) -> None:
        run.notes += (message,)
        self._ledger.change(run.view.id, notes=run.notes)

    def _end(self, run: Run, event: Done) -> None:
        if any(rank is not None for rank in run.ranks):
            self._ledger.change(run.view.id, images=by_rank(run.images, run.ranks))
        if run.unsaved is not None:
            self._ledger.finish(run.view.id, "failed", error=run.unsaved.to_json(), seconds=event.seconds)
        elif event.interrupted:
            self._ledger.finish(run.view.id, "interrupted", seconds=event.seconds)
        else:
            self._ledger.finish(run.view.id, "done", seconds=event.seconds, fraction=1.0)
