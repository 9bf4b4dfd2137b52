"""One running request: its model, its passes, its extensions and control units, told as events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from webui.control.bank import UnitBank
from webui.diffusion.noise import NoiseSource
from webui.engine.control import Control, Stopped
from webui.engine.drive import drive
from webui.engine.executor import Executor, ignore
from webui.engine.extensions import Extensions
from webui.engine.guarding import Guarding
from webui.engine.models import Models
from webui.engine.preview import Previewer
from webui.engine.progress import Tracker, call_name
from webui.engine.tools import ModelTools
from webui.engine.units import JobUnits, first_frame
from webui.ext.contexts import JobData, ModelEvent
from webui.ext.session import Session
from webui.images.read import read_image
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.tensors import tensor_to_image
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import DecodeLatent, Denoise, EndSampling, ModelFacts, OpenPass, Pass, Picture
from webui.schema.errors import BadRequest
from webui.schema.events import Event, ExtensionTimes, ImageReady, Note, Prepared, Preview, Stage
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint, Request
from webui.schema.resolve import image_seeds

Emit = Callable[[Event, bytes | None], None]
Watch = Callable[[str, float | None], None]
"""watch(kind, None) before a call into the model, watch(kind, seconds) after it: what the supervisor's clock reads."""
Execute = Callable[[Sequence[Any]], Sequence[Any]]
STAGES = {"DecodeLatent": "decoding", "EncodeImage": "encoding the picture"}
T = TypeVar("T")


@dataclass(frozen=True)
class Surroundings:
    """What a job runs in. between: called between two calls into the model, for questions that wait; the extensions
    that answered."""

    models: Models
    extensions: Extensions
    emit: Emit
    watch: Watch
    between: Callable[[Guarding], Sequence[str]]


class Job:
    """One running request. guard: watches over extension code, also that of questions answered meanwhile."""

    def __init__(
        self, job_id: str, request: Request, images: Mapping[str, bytes], control: Control, around: Surroundings
    ) -> None:
        self._id = job_id
        self._images = dict(images)
        self._around = around
        self._models = around.models
        self._extensions = around.extensions
        self._control = control
        self._emit = around.emit
        self._data = JobData(job_id, request, self._images, self.note, lambda: control.interrupted)
        self._session: Session | None = None
        self._units: JobUnits | None = None
        self._tracker = Tracker(request)
        self._notes: set[str] = set()
        self._asked: set[str] = set()
        self._decoded: dict[str, Image] = {}
        self._extras: dict[int, list[tuple[str, Tensor]]] = {}
        self.guard = Guarding(around.models, around.extensions.host)

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
        return [*hooked, *self._asked]

    def _prepare(self) -> None:
        """The extensions that take part, and what they make of the request."""
        host, request = self._extensions.host, self._request
        if not host.ready and not request.ext and not request.control:
            return
        if request.control or Session.involves(host, request):
            self.guard.arm()
        session = self._session = self.timed("extensions", partial(Session, host, self._data))
        self.timed("prepare_job", session.prepare)
        if self._request != request:
            self._tracker = Tracker(self._request)
            self._emit(Prepared(job_id=self._id, request=self._request.model_dump(mode="json")), None)

    def _draw(self) -> None:
        with self._executor() as executor, torch.inference_mode():
            self._previewer = Previewer(self._models.preview_factors)
            self._begin_session(executor)
            for batch in range(self._request.n_iter):
                if self._control.interrupted:
                    return
                self._run_batch(executor, batch)
                self._tell_notes()

    def _begin_session(self, executor: Executor) -> None:
        """Maps and networks of the control units, and the tools of the extensions."""
        if self._session is None:
            return
        if any(unit.enabled for unit in self._request.control):
            tools = self._extensions.control_tools(executor, self._open_picture, self.note, self._check_cancel)
            first = first_frame(self._request, executor.facts, self._open_picture)
            self._units = JobUnits(UnitBank(self._request, tools), first, self._id, self._emit, self.timed)
            self._stage("control maps")
            self._units.prepare()
        self._session.begin(ModelTools(executor, self._request.clip_skip), executor.config.prediction, self._units)

    def _end(self, error: Exception | None) -> None:
        """Close what is open and tell the hooks, whatever happened. Raises what closing raises, if nothing else did."""
        session = self._session
        if session is None:
            return
        failures = self.timed("the end of hooks", session.close)
        if self._units is not None:
            self._units.report()
            self._extensions.shelf.rest()
        fault = error or (failures[0] if failures else None)
        self.timed("job_done", partial(session.done, fault))
        seconds = session.seconds()
        if seconds:
            self._emit(ExtensionTimes(job_id=self._id, seconds=seconds), None)
        self._tell_notes()
        for failure in failures if error is not None else failures[1:]:
            self.note(str(failure))
        if error is None and failures:
            raise failures[0]

    @contextlib.contextmanager
    def _executor(self) -> Iterator[Executor]:
        """The model's executor, loaded where it is not; its notes go to this job, and nowhere once the job is over."""
        name = self._request.model
        if not self._models.holds(name):
            self._stage(f"loading {name}")
            if self._extensions.listens_to_models:
                self.guard.arm()
            self.timed("load", lambda: self._models.executor(name))
            self.guard.model_loaded()
            self._extensions.model_changed(ModelEvent(name, self._models.executor(name).config.family))
        executor = self._models.executor(name)
        executor.note = self.note
        try:
            yield executor
        finally:
            executor.note = ignore

    def note(self, message: str) -> None:
        """Tell the user once."""
        if message not in self._notes:
            self._notes.add(message)
            self._emit(Note(job_id=self._id, message=message), None)

    def _tell_notes(self) -> None:
        for message in self._extensions.host.take_notes():
            self.note(message)

    def _check_cancel(self) -> None:
        if self._control.interrupted:
            raise Stopped

    def _run_batch(self, executor: Executor, batch: int) -> None:
        self._control.next_batch()
        self._tracker.begin(batch)
        size = self._request.batch_size
        indices = range(batch * size, (batch + 1) * size)
        passes = [self._pass(self._facts(executor, index), index) for index in indices]
        for index, picture in zip(indices, drive(passes, self._table(executor), self._control), strict=True):
            if picture is not None:
                self._deliver(index, picture)
        if self._control.cut_short and self._tracker.step:
            self.note(f"Stopped at step {self._tracker.step} of {self._tracker.steps}: the picture is unfinished.")

    def _facts(self, executor: Executor, index: int) -> ModelFacts:
        """What a pass is told: the number of its picture too, where somebody wants its scopes."""
        wanted = self._session is not None and self._session.wants_passes
        return replace(executor.facts, picture=index) if wanted else executor.facts

    def _pass(self, facts: ModelFacts, index: int) -> Pass:
        seed, subseed = image_seeds(self._request, index)
        source = NoiseSource(seed, subseed, self._request.subseed_strength)
        if isinstance(self._request, Inpaint):
            init, mask = self._request.init_image, self._request.mask
            return inpaint(self._request, facts, source, self._open_picture(init), self._open_picture(mask))
        if isinstance(self._request, Img2Img):
            return img2img(self._request, facts, source, self._open_picture(self._request.init_image))
        return txt2img(self._request, facts, source)

    def _open_picture(self, ref: ImageRef) -> Image:
        if ref.sha256 not in self._images:
            raise BadRequest("A picture of this request is no longer there.", "Choose the picture again.")
        if ref.sha256 not in self._decoded:
            self._decoded[ref.sha256] = read_image(self._images[ref.sha256])
        return self._decoded[ref.sha256]

    def _table(self, executor: Executor) -> dict[type, Execute]:
        """What does each kind of work: the executor, with the hooks; each call timed, and the denoising told."""
        plain = executor.table
        session = self._session
        if session is not None:
            decode = plain[DecodeLatent]
            plain[OpenPass] = lambda items: [session.open(item.info, item.start, item.guidance) for item in items]
            plain[EndSampling] = lambda items: [session.end(item.scope, item.latent) for item in items]
            plain[DecodeLatent] = lambda items: self._hooked(session, items, decode(items))
        table = {kind: self._watched(kind.__name__, call) for kind, call in plain.items()}
        denoise = table[Denoise]

        def told(items: Sequence[Denoise]) -> Sequence[Any]:
            answers = denoise(items)
            self._tell(items, answers)
            return answers

        return {**table, Denoise: told}

    def _hooked(self, session: Session, items: Sequence[DecodeLatent], images: Sequence[Tensor]) -> list[Tensor]:
        """Pictures (3 h w) as `after_decode` leaves them; what it adds is handed out beside them."""
        hooked = []
        for item, image in zip(items, images, strict=True):
            if item.picture is not None:
                image, self._extras[item.picture] = session.decoded(item.picture, image)
            hooked.append(image)
        return hooked

    def _watched(self, kind: str, call: Execute) -> Execute:
        def watched(items: Sequence[Any]) -> Sequence[Any]:
            if kind in STAGES:
                self._stage(STAGES[kind])
            return self.timed(call_name(items), lambda: call(items))

        return watched

    def timed(self, kind: str, call: Callable[[], T]) -> T:
        """Run a call under the supervisor's clock; then questions that wait are answered."""
        self._around.watch(kind, None)
        begun = time.monotonic()
        try:
            return call()
        finally:
            self._around.watch(kind, time.monotonic() - begun)
            self._asked.update(self._around.between(self.guard))

    def _tell(self, items: Sequence[Denoise], answers: Sequence[Any]) -> None:
        """Progress after every call, a preview now and then."""
        self._emit(self._tracker.after(self._id, items[0]), None)
        if self._previewer.due:
            jpeg, width, height = self._previewer.draw([answer.denoised for _, answer in answers])
            self._emit(Preview(job_id=self._id, image=self._tracker.image, width=width, height=height), jpeg)

    def _stage(self, message: str) -> None:
        self._emit(Stage(job_id=self._id, message=message), None)

    def _deliver(self, index: int, picture: Picture) -> None:
        """Hand out a picture, and those that extensions made beside it, as `on_image` leaves them."""
        for note in picture.notes:
            self.note(note)
        self._hand_out(index, picture.image, picture.infotext)
        for owner, extra in self._extras.pop(index, ()):
            self._hand_out(index, tensor_to_image(extra), {**picture.infotext, "Made by": owner})

    def _hand_out(self, index: int, image: Image, infotext: dict[str, Any]) -> None:
        seed, subseed = image_seeds(self._request, index)
        if self._session is not None:
            found = self.timed("on_image", partial(self._session.picture, image, index, seed, infotext))
            if found is None:
                return
            image, infotext = found.image, found.infotext
        event = ImageReady(
            job_id=self._id,
            index=index,
            seed=seed,
            subseed=subseed,
            width=image.width,
            height=image.height,
            prompt=self._request.prompt,
            negative_prompt=self._request.negative_prompt,
            infotext=infotext,
        )
        self._emit(event, image.convert("RGB").tobytes())
