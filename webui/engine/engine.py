"""Runs one job at a time: loads the model, drives its passes, tells what happens as events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from webui.checkpoints.catalogue import Catalogue
from webui.diffusion.noise import NoiseSource
from webui.engine.control import Control
from webui.engine.devices import Placement, is_out_of_memory, place
from webui.engine.drive import drive
from webui.engine.executor import Executor, ignore
from webui.engine.interface import Mode
from webui.engine.models import Models
from webui.engine.preview import Previewer
from webui.images.read import read_image
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import DecodeLatent, Denoise, EncodeImage, ModelFacts, Pass, Picture, Work
from webui.schema.errors import AtelierError, BadRequest, OutOfMemory
from webui.schema.events import Done, Event, Failed, ImageReady, Note, Preview, Progress, Stage, Started
from webui.schema.requests import Img2Img, Inpaint, Request
from webui.schema.resolve import image_seeds

Emit = Callable[[Event, bytes | None], None]
Watch = Callable[[str, float | None], None]
"""watch(kind, None) before a call into the model, watch(kind, seconds) after it: what the supervisor's clock reads."""


class Engine:
    """The models of one device and the jobs that run on them, one after another."""

    def __init__(self, models_dir: Path, placement: Placement | None = None, watch: Watch | None = None) -> None:
        self.models = Models(Catalogue(models_dir), placement or place())
        self._watch = watch or (lambda kind, seconds: None)
        self._controls: dict[str, Control] = {}

    def prepare(self, job_id: str) -> None:
        """Make the job known, so that a cancel that comes before it runs is kept."""
        self._controls.setdefault(job_id, Control())

    def cancel(self, job_id: str, mode: Mode) -> None:
        """Ask a job to stop; safe from any thread. A job that is not known is left alone."""
        control = self._controls.get(job_id)
        if control is not None:
            control.ask(mode)

    def run(self, job_id: str, request: Request, images: Mapping[str, bytes], emit: Emit) -> None:
        """Run a job to its end. Exactly one Done or Failed is emitted, and nothing is raised for a job's own faults."""
        self.prepare(job_id)
        control, started = self._controls[job_id], time.monotonic()
        emit(Started(job_id=job_id), None)
        try:
            Job(job_id, request, images, self.models, control, emit, self._watch).run()
        except AtelierError as error:
            emit(Failed(job_id=job_id, error=error.to_json()), None)
        except Exception as error:
            emit(Failed(job_id=job_id, error=as_user_error(error).to_json()), None)
        else:
            seconds = time.monotonic() - started
            emit(Done(job_id=job_id, interrupted=control.interrupted, seconds=seconds), None)
        finally:
            del self._controls[job_id]
            self.models.free_cache()


class Job:
    """One running request."""

    def __init__(
        self,
        job_id: str,
        request: Request,
        images: Mapping[str, bytes],
        models: Models,
        control: Control,
        emit: Emit,
        watch: Watch,
    ) -> None:
        self._id = job_id
        self._request = request
        self._images = images
        self._models = models
        self._control = control
        self._emit = emit
        self._watch = watch
        self._tracker = Tracker(request)
        self._notes: set[str] = set()
        self._decoded: dict[str, Image] = {}

    def run(self) -> None:
        with torch.inference_mode(), self._executor() as executor:
            self._previewer = Previewer(self._models.preview_factors)
            for batch in range(self._request.n_iter):
                if self._control.interrupted:
                    return
                self._run_batch(executor, batch)

    @contextlib.contextmanager
    def _executor(self) -> Iterator[Executor]:
        """The model's executor, loaded where it is not; its notes go to this job, and nowhere once the job is over."""
        name = self._request.model
        if not self._models.holds(name):
            self._stage(f"loading {name}")
            self._timed("load", lambda: self._models.executor(name))
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

    def _run_batch(self, executor: Executor, batch: int) -> None:
        self._control.next_batch()
        self._tracker.begin(batch)
        size = self._request.batch_size
        indices = range(batch * size, (batch + 1) * size)
        passes = [self._pass(executor.facts, index) for index in indices]
        for index, picture in zip(indices, drive(passes, self._table(executor), self._control), strict=True):
            if picture is not None:
                self._deliver(index, picture)
        if self._control.cut_short and self._tracker.step:
            self.note(f"Stopped at step {self._tracker.step} of {self._tracker.steps}: the picture is unfinished.")

    def _pass(self, facts: ModelFacts, index: int) -> Pass:
        seed, subseed = image_seeds(self._request, index)
        source = NoiseSource(seed, subseed, self._request.subseed_strength)
        if isinstance(self._request, Inpaint):
            init, mask = self._request.init_image.sha256, self._request.mask.sha256
            return inpaint(self._request, facts, source, self._picture(init), self._picture(mask))
        if isinstance(self._request, Img2Img):
            return img2img(self._request, facts, source, self._picture(self._request.init_image.sha256))
        return txt2img(self._request, facts, source)

    def _picture(self, sha256: str) -> Image:
        if sha256 not in self._images:
            raise BadRequest("A picture of this request is no longer there.", "Choose the picture again.")
        if sha256 not in self._decoded:
            self._decoded[sha256] = read_image(self._images[sha256])
        return self._decoded[sha256]

    def _table(self, executor: Executor) -> dict[type, Callable[[Sequence[Any]], Sequence[Any]]]:
        """The executor's table, each call timed, and the denoising told to the user."""
        table = {kind: self._watched(kind.__name__, call) for kind, call in executor.table.items()}
        denoise = table[Denoise]

        def told(items: Sequence[Denoise]) -> Sequence[Any]:
            answers = denoise(items)
            self._tell(items, answers)
            return answers

        return {**table, Denoise: told}

    def _watched(
        self, kind: str, call: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> Callable[[Sequence[Any]], Sequence[Any]]:
        stage = {"DecodeLatent": "decoding", "EncodeImage": "encoding the picture"}.get(kind)

        def watched(items: Sequence[Any]) -> Sequence[Any]:
            if stage is not None:
                self._stage(stage)
            return self._timed(call_name(items), lambda: call(items))

        return watched

    def _timed(self, kind: str, call: Callable[[], Any]) -> Any:
        self._watch(kind, None)
        begun = time.monotonic()
        try:
            return call()
        finally:
            self._watch(kind, time.monotonic() - begun)

    def _tell(self, items: Sequence[Denoise], answers: Sequence[Any]) -> None:
        """Progress after every call, a preview now and then."""
        self._emit(self._tracker.after(self._id, items[0]), None)
        if self._previewer.due:
            jpeg, width, height = self._previewer.draw([answer.denoised for _, answer in answers])
            self._emit(Preview(job_id=self._id, image=self._tracker.image, width=width, height=height), jpeg)

    def _stage(self, message: str) -> None:
        self._emit(Stage(job_id=self._id, message=message), None)

    def _deliver(self, index: int, picture: Picture) -> None:
        seed, subseed = image_seeds(self._request, index)
        for note in picture.notes:
            self.note(note)
        event = ImageReady(
            job_id=self._id,
            index=index,
            seed=seed,
            subseed=subseed,
            width=picture.image.width,
            height=picture.image.height,
            prompt=self._request.prompt,
            negative_prompt=self._request.negative_prompt,
            infotext=picture.infotext,
        )
        self._emit(event, picture.image.convert("RGB").tobytes())


def call_name(items: Sequence[Work]) -> str:
    """What is done, and on which sizes: calls of one name take about as long as each other."""
    first = items[0]
    if isinstance(first, Denoise):
        shape = first.eval.x.shape
    elif isinstance(first, EncodeImage):
        shape = first.image.shape
    elif isinstance(first, DecodeLatent):
        shape = first.latent.shape
    else:
        return type(first).__name__
    return f"{type(first).__name__} {'x'.join(map(str, (len(items), *shape)))}"


class Tracker:
    """How far a job is, in steps and in time."""

    def __init__(self, request: Request) -> None:
        self.step = self.steps = self.image = 0
        self._batches = request.n_iter
        self._batch_size = request.batch_size
        self._batch = 0
        self._started: float | None = None

    def begin(self, batch: int) -> None:
        self._batch = batch
        self.image = batch * self._batch_size
        if self._started is None:
            self._started = time.monotonic()

    def after(self, job_id: str, item: Denoise) -> Progress:
        """The progress once `item` is answered."""
        self.step, self.steps = min(item.eval.step + 1, item.steps), item.steps
        fraction = (self._batch + item.fraction) / self._batches
        elapsed = time.monotonic() - (self._started or 0)
        return Progress(
            job_id=job_id,
            step=self.step,
            steps=self.steps,
            image=self.image,
            images=self._batches * self._batch_size,
            fraction=fraction,
            eta_seconds=elapsed * (1 - fraction) / fraction if fraction > 0 else None,
        )


def as_user_error(error: Exception) -> AtelierError:
    """What the user is told of a fault that nobody foresaw, or of a device that is full."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if is_out_of_memory(error):
        return OutOfMemory("The device has not enough memory for this job.", "Make the picture or the batch smaller.")
    return AtelierError(
        f"The job failed: {type(error).__name__}: {text}", "Please report this with the steps that led to it."
    )
