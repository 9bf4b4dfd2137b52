"""One running request: its model, its passes, its extensions and control units, told as events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from webui.control.bank import UnitBank
from webui.engine.control import Control, Stopped
from webui.engine.delivery import Delivery
from webui.engine.drawing import Drawing
from webui.engine.drive import drive
from webui.engine.extensions import Extensions
from webui.engine.guarding import Guarding
from webui.engine.models import Models
from webui.engine.passes import pass_of
from webui.engine.preview import Previewer
from webui.engine.progress import Tracker
from webui.engine.table import Execute, work_table
from webui.engine.telling import Emit, Telling, Watch
from webui.engine.tools import ModelTools
from webui.engine.units import JobUnits, first_frame
from webui.ext.contexts import JobData
from webui.ext.session import Session
from webui.images.given import GivenPictures
from webui.pipeline.texts import prompt_notes
from webui.pipeline.work import ModelFacts, UseModel
from webui.prompt.picture_prompts import PicturePrompts, Wildcards
from webui.prompt.styles import Styles
from webui.schema.events import ExtensionTimes, Prepared
from webui.schema.generation import AUTOMATIC_VAE
from webui.schema.names import PreviewMethod
from webui.schema.requests import Request
from webui.schema.resolve import refiner_model


@dataclass(frozen=True)
class Surroundings:
    """What a job runs in. between: called between two calls into the model, for questions that wait; the extensions
    that answered. closely: as of `Guarding`. preview: how previews are drawn."""

    models: Models
    extensions: Extensions
    emit: Emit
    watch: Watch
    between: Callable[[Guarding], Sequence[str]]
    closely: bool = False
    preview: PreviewMethod = "auto"


class Job:
    """One running request. guard: watches over extension code, also that of questions answered meanwhile; telling:
    what it says to the outside."""

    def __init__(
        self, job_id: str, request: Request, images: Mapping[str, bytes], control: Control, around: Surroundings
    ) -> None:
        given = dict(images)
        self.guard = Guarding(around.models, around.extensions.host, around.closely, around.extensions.shelf)
        self.telling = Telling(job_id, around.emit, around.watch, lambda: around.between(self.guard))
        self._models = around.models
        self._extensions = around.extensions
        self._control = control
        self._preview = around.preview
        self._pictures = GivenPictures(given)
        self._data = JobData(
            job_id, request, given, self.telling.note, lambda: control.interrupted, around.extensions.model_files
        )
        self._drawing = Drawing(around.models, around.extensions, self.guard, self.telling)
        self._session: Session | None = None
        self._units: JobUnits | None = None
        self._tracker = Tracker(request)
        self._prompts: PicturePrompts | None = None

    @property
    def _request(self) -> Request:
        return self._data.request

    def run(self) -> None:
        """Raises AtelierError, and whatever a fault raises; every scope is closed and every hook told then."""
        error: Exception | None = None
        try:
            self._prepare()
            self._draw()
        except Stopped:
            return
        except Exception as fault:
            error = fault
            raise
        finally:
            self._end(error)

    @property
    def suspects(self) -> list[str]:
        """The extensions whose code ran in this job, or answered a question meanwhile."""
        hooked = self._session.seconds() if self._session is not None else {}
        return [*hooked, *self.telling.asked]

    # before the drawing

    def _prepare(self) -> None:
        """The extensions that take part, and what they make of the request."""
        host, request = self._extensions.host, self._request
        if not host.ready and not request.ext and not request.control:
            return
        if request.control or Session.involves(host, request):
            self.guard.arm()
        session = self._session = self.telling.timed("extensions", partial(Session, host, self._data))
        self.guard.several = len(session.jobs) + bool(request.control) > 1
        self.telling.timed("prepare_job", session.prepare)
        if self._request != request:
            self._tracker = Tracker(self._request)
            told = Prepared(job_id=self.telling.job_id, request=self._request.model_dump(mode="json"))
            self.telling.event(told)

    def _begin_session(self) -> None:
        """Maps and networks of the control units, and the tools of the extensions."""
        if self._session is None:
            return
        executor = self._drawing.executor
        if any(unit.enabled for unit in self._request.control):
            pictures, telling = self._pictures.open, self.telling
            tools = self._extensions.control_tools(executor, pictures, telling.note, self._check_cancel)
            first = first_frame(self._request, executor.facts, pictures)
            self._units = JobUnits(UnitBank(self._request, tools), first, telling)
            telling.stage("control maps")
            self._models.memory.make_way()
            self._units.prepare()
            self._extensions.rest_preprocessors()
        tools_now = ModelTools(lambda: self._drawing.executor, self._request)
        self._session.begin(tools_now, self._units)

    def _check_cancel(self) -> None:
        if self._control.interrupted:
            raise Stopped

    # the drawing

    def _draw(self) -> None:
        drawing, request = self._drawing, self._request
        drawing.use(request.model, request.vae)
        self._plan()
        with drawing.lent(), torch.inference_mode():
            self._begin_session()
            where = self._models.catalogue.places.prompts
            if refiner_model(request) and self._session is not None and self._session.wants_passes:
                self.telling.note("Control units and extensions act until the refiner takes over.")
            self._prompts = PicturePrompts(request, Wildcards.beside(where), Styles.beside(where))
            delivery = Delivery(self._data, self._session, self.telling, self._prompts, self._models.hashes)
            previewer = Previewer(self._models, self._preview, self.telling)
            work = work_table(lambda: drawing.executor, self._session, delivery, self._tracker, previewer, self.telling)
            table = {**work, UseModel: self._change_model}
            for batch in range(request.n_iter):
                if self._control.interrupted:
                    return
                self._use(request.model, request.vae)  # the hires pass of the batch before may have had another
                self._run_batch(table, delivery, batch)
                self._tell_notes()

    def _use(self, name: str, vae: str) -> None:
        """Draw with this checkpoint from now on; the control units are fitted to it."""
        if not self._drawing.use(name, vae):
            return
        self._plan()
        if self._units is not None:
            self._units.use(self._drawing.executor.config, self._drawing.executor.base)

    def _plan(self) -> None:
        """What of the checkpoint that draws now is on the device when."""
        controls = self._extensions.control_bytes(self._request, self._models.placement.dtype.itemsize)
        self._models.plan(self._request, controls, self.telling.note)
        self._drawing.executor.vae_work.tiled = self._request.tiled_vae

    def _change_model(self, items: Sequence[UseModel]) -> list[ModelFacts]:
        """Asked for by the hires pass and for a refiner. Who waits for a stopped job's picture need not wait for it."""
        if not self._control.stop_sampling:
            self._use(items[0].name, self._second_vae(items[0].name))
        return [self._drawing.executor.facts] * len(items)

    def _second_vae(self, name: str) -> str:
        """The VAE for a further checkpoint: the one that was chosen where latents mean the same to both."""
        catalogue = self._models.catalogue
        first, second = (catalogue.config(one).vae.latent_space for one in (self._request.model, name))
        return self._request.vae if first == second else AUTOMATIC_VAE

    def _facts(self, index: int) -> ModelFacts:
        """What the pass of a picture is told: its number too, where somebody wants its scopes."""
        wanted = self._session is not None and self._session.wants_passes
        facts = self._drawing.executor.facts
        return replace(facts, picture=index) if wanted else facts

    def _request_of(self, index: int) -> Request:
        """The request of a picture, with its own prompts; what may not be meant in them is told."""
        assert self._prompts is not None
        request = self._prompts.request_of(index)
        for note in prompt_notes(request):
            self.telling.note(note)
        return request

    def _run_batch(self, table: dict[type, Execute], delivery: Delivery, batch: int) -> None:
        self._control.next_batch()
        self._tracker.begin(batch)
        size = self._request.batch_size
        indices = range(batch * size, (batch + 1) * size)
        passes = [pass_of(self._request_of(index), self._facts(index), index, self._pictures) for index in indices]

        def answered(place: int, answer: Any) -> None:
            delivery.answered(indices[place], answer)

        for index, picture in zip(indices, drive(passes, table, self._control, answered), strict=True):
            if picture is not None:
                delivery.deliver(index, picture)
        if self._control.cut_short and self._tracker.step:
            steps = f"{self._tracker.step} of {self._tracker.steps}"
            self.telling.note(f"Stopped at step {steps}: the picture is unfinished.")

    # after the drawing

    def _end(self, error: Exception | None) -> None:
        """Close what is open and tell the hooks, whatever happened. Raises what closing raises, if nothing else did."""
        session, telling = self._session, self.telling
        if session is None:
            return
        failures = telling.timed("the end of hooks", session.close)
        if self._units is not None:
            self._units.report()
        if self._units is not None or self.suspects:
            self._extensions.rest()
        fault = error or (failures[0] if failures else None)
        telling.timed("job_done", partial(session.done, fault))
        seconds = session.seconds()
        if seconds:
            telling.event(ExtensionTimes(job_id=telling.job_id, seconds=seconds))
        self._tell_notes()
        for failure in failures if error is not None else failures[1:]:
            telling.note(str(failure))
        if error is None and failures:
            raise failures[0]

    def _tell_notes(self) -> None:
        for message in self._extensions.host.take_notes():
            self.telling.note(message)
