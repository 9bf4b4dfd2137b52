"""Feeds the engine, one job at a time."""

from __future__ import annotations

import logging
import threading

from webui.engine.interface import EngineFactory, EngineLike
from webui.runtime.bookkeeper import Bookkeeper, Run
from webui.runtime.hashing import Hashing
from webui.runtime.inputs import Inputs
from webui.runtime.ledger import Ledger
from webui.runtime.outputs import Outputs
from webui.runtime.prepare import Models
from webui.schema.errors import AtelierError
from webui.schema.events import Done, Event, Failed
from webui.schema.requests import parse_request
from webui.schema.results import JobView

log = logging.getLogger(__name__)


class Runner:
    """One thread that hands over jobs; the engine's own thread brings its events."""

    def __init__(
        self,
        ledger: Ledger,
        engine: EngineFactory,
        models: Models,
        hashing: Hashing,
        inputs: Inputs,
        outputs: Outputs,
    ) -> None:
        self._ledger = ledger
        self._models = models
        self._hashing = hashing
        self._inputs = inputs
        self._book = Bookkeeper(ledger, inputs, outputs)
        self._run: Run | None = None
        self.engine: EngineLike = engine(self._on_event)
        self._thread = threading.Thread(target=self._feed, daemon=True, name="runner")

    def start(self) -> None:
        """Start the engine and hand over the first job."""
        self.engine.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop the engine. The ledger must be closed before, so that no further job is handed over."""
        self.engine.stop()
        run = self._run
        if run is not None:
            run.over.set()
        self._thread.join(timeout=5)

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        run = self._run
        return run is not None and not run.over.is_set()

    def preview(self, job_id: str) -> tuple[int, bytes] | None:
        """(number, JPEG) of the job's latest preview, while it runs and until the next job."""
        run = self._run
        return (run.previews, run.preview) if run is not None and run.view.id == job_id and run.previews else None

    def _feed(self) -> None:
        while (view := self._ledger.claim()) is not None:
            try:
                run = self._prepare(view)
                self._hand_over(run)
            except AtelierError as error:
                self._ledger.finish(view.id, "failed", error=error.to_json())
            except Exception:
                log.exception("job %s was not handed over", view.id)
                fault = AtelierError("The job could not be handed to the engine.", "The server's log says why.")
                self._ledger.finish(view.id, "failed", error=fault.to_json())
            else:
                run.over.wait()

    def _prepare(self, view: JobView) -> Run:
        request = parse_request(view.request)
        model = self._models.find(request.model)
        return Run(view, request, model, self._hashing.complete(model), notes=view.notes)

    def _hand_over(self, run: Run) -> None:
        images = {ref.sha256: self._inputs.read(ref) for ref in run.request.image_refs}
        if not self.engine.ready:
            self._ledger.change(run.view.id, message=self.engine.message)
        self._run = run
        self.engine.submit(run.view.id, run.request, images)
        # a stop that came before the engine had the job was not heard by it
        if self._ledger.shall_stop(run.view.id):
            self.engine.cancel(run.view.id, "interrupt")

    def _on_event(self, event: Event, blob: bytes | None) -> None:
        run = self._run
        if run is None or run.view.id != event.job_id or run.over.is_set():
            return
        try:
            self._book.take(run, event, blob)
        except Exception:
            log.exception("an event of job %s was not understood: %s", event.job_id, event.type)
            fault = AtelierError("What the engine sent could not be used.", "The server's log says why.")
            self._ledger.finish(event.job_id, "failed", error=fault.to_json())
            self.engine.cancel(event.job_id, "interrupt")
        finally:
            if isinstance(event, (Done, Failed)):
                run.over.set()
