"""An engine without a model: noise by seed, steps that take some milliseconds, and faults on demand.

A fault is asked for in the prompt, wherever a test can type one: "a ball raise@3" fails in step 3. Kinds: `raise` (an
error of the job), `nan` (not a number came out), `exit` (the engine process ends and starts again), `hang` (no call
returns; ends when the engine's patience does, or by `release`).
"""

from __future__ import annotations

import hashlib
import io
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from webui.checkpoints.source import open_checkpoint
from webui.checkpoints.vaes import VAECatalogue
from webui.engine.interface import Answered, Mode, OnEvent
from webui.images.given import read_given
from webui.nn.config import ModelConfig
from webui.schema.asks import Answer, Preprocess, What
from webui.schema.errors import AtelierError, EngineDied, NotFound, NumericError
from webui.schema.events import (
    Done,
    Event,
    Failed,
    ImageReady,
    MapReady,
    Note,
    Preview,
    Progress,
    Stage,
    Started,
    UnitReport,
)  # fmt: skip
from webui.schema.requests import Request
from webui.schema.resolve import image_seeds
from webui.schema.results import ModelInfo

MEMORY = {
    "mode": "auto",
    "manner": "together",
    "device": {"name": "cpu", "total": None, "free": None, "used": 0},
    "machine": {"total": 16 * 1024**3, "free": 12 * 1024**3, "used": 3 * 1024**3, "kept": 2**30, "budget": 8 * 1024**3},
}
LOADED = {"name": "toybox", "bytes": 17 * 1024**2, "on_device": 0, "present": True}
MODELS = Path(__file__).parents[1] / "models" / "Stable-diffusion"
TOYBOX = ModelInfo(
    name="toybox", file="toybox.safetensors", family="toybox", native_size=64, sha256="ab" * 32, hint="Draws noise.",
    examples=("a big red ball on a green floor, blue sky", "a small yellow cube on a white floor"),
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and in which step (from 1)."""

    kind: str
    step: int

    @staticmethod
    def asked_for(prompt: str) -> Fault | None:
        found = re.search(r"\b(raise|nan|exit|hang)@(\d+)", prompt)
        return Fault(found[1], int(found[2])) if found else None


@dataclass(frozen=True)
class _Work:
    job_id: str
    request: Request
    images: Mapping[str, bytes]


class _Died(Exception):
    """The process of this engine would be gone now."""


def picture_of(request: Request, index: int) -> np.ndarray:
    """The picture (h w 3) that a fake engine draws as the index-th of a request.

    Noise by seed; its first pixel is the start of the prompt's sha256, so that a picture tells whose it is.
    """
    seed, subseed = image_seeds(request, index)
    shape = (request.height or 64, request.width or 64, 3)
    pixels = np.random.default_rng([seed, subseed]).integers(0, 256, shape, dtype=np.uint8)
    pixels[0, 0] = list(prompt_mark(request.prompt))
    return pixels


def prompt_mark(prompt: str) -> tuple[int, int, int]:
    """The first pixel of every picture with this prompt."""
    red, green, blue = hashlib.sha256(prompt.encode()).digest()[:3]
    return red, green, blue


def _answer(what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Answered:
    if what in ("memory", "unload"):
        return Answer(body=MEMORY | {"loaded": [] if what == "unload" else [LOADED]}), ()
    if what == "report":
        return Answer(body={"extensions": []}), ()
    if what == "route":
        return Answer(body={"heard": body["body"]}), ()
    question = Preprocess.model_validate(body)
    if question.unit.params.get("low") == 13:
        raise AtelierError("The preprocessor fails at 13.", "Choose another number.")
    asked = question.width, question.height
    image = Image.open(io.BytesIO(images[question.source.sha256])) if question.source else Image.new("RGB", asked)
    image = image.convert("RGB")
    size = asked if question.fit else image.size
    pixels = 255 - np.asarray(image.resize(size))
    return Answer(sizes=(size,)), (pixels.tobytes(),)


class FakeModels:
    """Checkpoints that are not there: what `Runtime` asks of a catalogue."""

    def __init__(self, *infos: ModelInfo) -> None:
        self.infos = infos or (TOYBOX,)
        self.vaes = VAECatalogue(MODELS)
        self.models_dir = MODELS

    def list(self) -> list[ModelInfo]:
        return list(self.infos)

    def find(self, name: str) -> ModelInfo:
        for info in self.infos:
            if name in (info.name, info.file):
                return info
        raise NotFound(f"There is no model {name!r}.", "Choose another one.")

    def path(self, name: str) -> Path:
        return MODELS / self.find(name).file

    def config(self, name: str) -> ModelConfig:
        path = self.path(name)
        return open_checkpoint(path).config()

    def sha256(self, name: str, cancelled: Callable[[], bool]) -> str | None:
        return self.find(name).sha256


class FakeEngine:
    """`webui.engine.interface.EngineLike`, for tests of everything above the engine."""

    def __init__(
        self,
        on_event: OnEvent,
        *,
        step_seconds: float = 0.005,
        start_seconds: float = 0.0,
        patience: float = 60.0,
        restart_seconds: float = 0.05,
    ) -> None:
        self.ready = False
        self.message = "The engine is starting."
        self.seen: list[str] = []
        self.cancels: list[tuple[str, str]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refreshed: list[tuple[str, ...]] = []
        self.running: str | None = None
        self.faults: dict[str, str] = {}
        self._on_event = on_event
        self._step_seconds = step_seconds
        self._start_seconds = start_seconds
        self._patience = patience
        self._restart_seconds = restart_seconds
        self._lock = threading.Lock()
        self._work: queue.Queue[_Work | None] = queue.Queue()
        self._interrupt = threading.Event()
        self._skip = threading.Event()
        self._stopping = threading.Event()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fake-engine")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._work.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def submit(self, job_id: str, request: Request, images: Mapping[str, bytes]) -> None:
        with self._lock:
            if self.running is not None:
                raise RuntimeError(f"job {self.running} still runs")
            self.running = job_id
            self._interrupt.clear()
            self._skip.clear()
        self.seen.append(job_id)
        self._work.put(_Work(job_id, request, dict(images)))

    def cancel(self, job_id: str, mode: Mode) -> None:
        with self._lock:
            if self.running != job_id:
                return
            self.cancels.append((job_id, mode))
            (self._interrupt if mode == "interrupt" else self._skip).set()

    def ask(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Future[Answered]:
        """Maps are negatives; routes answer with what they were given."""
        self.asked.append((what, dict(body)))
        future: Future[Answered] = Future()
        try:
            future.set_result(_answer(what, body, images))
        except AtelierError as error:
            future.set_exception(error)
        return future

    def refresh_extensions(self, reload: Sequence[str] = ()) -> None:
        self.refreshed.append(tuple(reload))

    def release(self) -> None:
        """End a hang."""
        self._released.set()

    def _run(self) -> None:
        self._begin(self._start_seconds)
        while (work := self._work.get()) is not None and not self._stopping.is_set():
            last = self._last_event(work)
            if self._stopping.is_set():
                return
            with self._lock:
                self.running = None
            self._on_event(last, None)
            if not self.ready:
                self._begin(self._restart_seconds)

    def _begin(self, seconds: float) -> None:
        self._stopping.wait(seconds)
        self.ready, self.message = True, "The engine runs on nothing at all."

    def _last_event(self, work: _Work) -> Event:
        begun = time.monotonic()
        try:
            self._draw(work)
        except AtelierError as error:
            return Failed(job_id=work.job_id, error=error.to_json())
        except _Died as reason:
            self.ready, self.message = False, f"The engine stopped ({reason}) and is being started again."
            death = EngineDied(f"The engine stopped in the middle of this job: {reason}.", "Try again.")
            return Failed(job_id=work.job_id, error=death.to_json())
        return Done(job_id=work.job_id, interrupted=self._interrupt.is_set(), seconds=time.monotonic() - begun)

    def _draw(self, work: _Work) -> None:
        self._tell(Started(job_id=work.job_id))
        self._tell(Stage(job_id=work.job_id, message=f"loading {work.request.model}"))
        for ref in work.request.image_refs:
            read_given(work.images, ref)
        self._steer(work)
        for batch in range(work.request.n_iter):
            if self._interrupt.is_set():
                return
            self._skip.clear()
            self._draw_batch(work, batch)

    def _steer(self, work: _Work) -> None:
        """A unit acts in its window, less and less; its map is grey."""
        for number, unit in enumerate(work.request.control, 1):
            if not unit.enabled:
                continue
            label = unit.preprocessor
            grey = np.full((32, 48, 3), 128, np.uint8).tobytes()
            event = MapReady(job_id=work.job_id, unit=number, label=label, width=48, height=32, save=unit.save_map)
            self._tell(event, grey)
            steps = [i for i in range(work.request.steps) if unit.start <= i / work.request.steps <= unit.end]
            ratios = tuple(0.3 * unit.weight / (1 + i) for i in steps)
            note = "" if any(ratios) else "it had no effect."
            self._tell(
                UnitReport(
                    job_id=work.job_id, unit=number, label=label, steps=tuple(steps), ratios=ratios, note=note
                )
            )  # fmt: skip

    def _draw_batch(self, work: _Work, batch: int) -> None:
        request, first = work.request, batch * work.request.batch_size
        done = 0
        for step in range(1, request.steps + 1):
            if self._stopping.wait(self._step_seconds) or self._interrupt.is_set() or self._skip.is_set():
                break
            self._misbehave(Fault.asked_for(request.prompt), step)
            self._progress(work, batch, step)
            done = step
        if done < request.steps:
            self._tell(Note(job_id=work.job_id, message=f"Stopped at step {done} of {request.steps}."))
        for index in range(first, first + request.batch_size) if done else ():
            self._deliver(work, index)

    def _misbehave(self, fault: Fault | None, step: int) -> None:
        if fault is None or fault.step != step:
            return
        if fault.kind == "raise":
            raise AtelierError("The job failed: a fault was asked for.", "Ask for none.")
        if fault.kind == "nan":
            raise NumericError(f"Not a number came out of the model at step {step}.", "Try another data type.")
        if fault.kind == "hang" and not self._released.wait(self._patience):
            raise _Died(f"it has not returned from Denoise in {self._patience:.0f} s")
        if fault.kind == "exit":
            raise _Died("exit code 7")

    def _progress(self, work: _Work, batch: int, step: int) -> None:
        request, job_id = work.request, work.job_id
        fraction = (batch + step / request.steps) / request.n_iter
        images = request.n_iter * request.batch_size
        left = (1 - fraction) * request.n_iter * request.steps * self._step_seconds
        image = batch * request.batch_size
        progress = Progress(
            job_id=job_id, step=step, steps=request.steps, image=image, images=images, fraction=fraction,
            eta_seconds=left,
        )  # fmt: skip
        self._tell(progress)
        jpeg = io.BytesIO()
        width = max(1, 16 * (request.width or 1) // (request.height or 1)) * request.batch_size
        Image.fromarray(np.full((16, width, 3), step % 256, np.uint8)).save(jpeg, "JPEG")
        self._tell(Preview(job_id=job_id, image=image, width=width, height=16), jpeg.getvalue())

    def _deliver(self, work: _Work, index: int) -> None:
        request, pixels = work.request, picture_of(work.request, index)
        seed, subseed = image_seeds(request, index)
        event = ImageReady(
            job_id=work.job_id, index=index, seed=seed, subseed=subseed, width=pixels.shape[1],
            height=pixels.shape[0], prompt=request.prompt, negative_prompt=request.negative_prompt,
        )  # fmt: skip
        self._tell(event, pixels.tobytes())

    def _tell(self, event: Event, blob: bytes | None = None) -> None:
        if not self._stopping.is_set():
            self._on_event(event, blob)
