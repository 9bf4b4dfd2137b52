"""Runs one job at a time on the models of one device, and answers questions between its calls."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.forms import Memory
from webui.checkpoints.places import Places
from webui.engine.answers import Answers, Ask
from webui.engine.control import Control
from webui.engine.devices import Placement, place
from webui.engine.extensions import Extensions, Folders
from webui.engine.guarding import Guarding, Verdict
from webui.engine.interface import Mode
from webui.engine.job import Job, Surroundings
from webui.engine.models import Models
from webui.engine.telling import Emit, Watch
from webui.ext.calls import CURE
from webui.ext.faults import Held
from webui.ext.session import tell_of_death
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import AtelierError, ExtensionError, OutOfMemory
from webui.schema.events import Done, Failed, Started
from webui.schema.memory import MemoryOptions
from webui.schema.names import PreviewMethod
from webui.schema.requests import Request

_LOG = logging.getLogger(__name__)
Restart = Callable[[str], None]
"""restart(reason): called where this process should not take another job."""
Hold = Callable[[Held], None]
"""hold(held): called where what is held against extensions may have changed; all of it is told."""


class Engine:
    """The models and extensions of one device and the jobs that run on them, one after another.

    where: the models. folders: where extensions are, and the program's own data. preview: how previews are drawn.
    memory: how much of it is used. restart: told why the process should end after the present job, before its end is.
    hold: told what a next process has to know of extensions (`restore`), before `restart` is called.
    """

    def __init__(
        self,
        where: Places | Path,
        placement: Placement | None = None,
        watch: Watch | None = None,
        folders: Folders | None = None,
        restart: Restart | None = None,
        hold: Hold | None = None,
        preview: PreviewMethod = "auto",
        memory: MemoryOptions = MemoryOptions(),
    ) -> None:
        folders = folders or Folders()
        catalogue = Catalogue(where, Memory.of(folders.data_dir))
        self.models = Models(catalogue, placement or place(), memory)
        self.extensions = Extensions(
            folders, catalogue.places, self.models.placement.device, catalogue.memory, self.models.memory
        )
        self._watch = watch or (lambda kind, seconds: None)
        self._restart = restart or (lambda reason: None)
        self._hold = hold or (lambda held: None)
        self._controls: dict[str, Control] = {}
        self._asks: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        self._running = False
        self._answers = Answers(self.extensions, self.models, lambda: self._running)
        self._closely = False
        self._preview = preview

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
        around = Surroundings(
            self.models, self.extensions, emit, self._watch, self._answer_waiting, self._closely, self._preview
        )
        job = Job(job_id, request, images, control, around)
        fault: Exception | None = None
        self._running = True
        try:
            job.run()
        except Exception as error:
            fault = error
        finally:
            self._running = False
            del self._controls[job_id]
        seconds = time.monotonic() - started
        verdict = self._look_after(job.guard, job.suspects, job.telling.note)
        self.models.free_cache()
        if fault is None:
            emit(Done(job_id=job_id, interrupted=control.interrupted, seconds=seconds), None)
        else:
            emit(Failed(job_id=job_id, error=as_user_error(fault, verdict.said, job.suspects).to_json()), None)

    def ask(self, question: Ask) -> None:
        """Ask something beside the jobs; safe from any thread. It is answered between two calls of a job that runs, or
        by `answer_waiting`."""
        self._asks.put(question)

    def answer_waiting(self) -> None:
        """Answer all questions that wait. Called while no job runs, by the thread that runs jobs."""
        guard = Guarding(self.models, self.extensions.host, self._closely, self.extensions.shelf)
        suspects = self._answer_waiting(guard)
        if suspects:
            self.extensions.rest()
        self._look_after(guard, suspects, lambda note: None)

    def refresh(self, reload: Sequence[str] = ()) -> None:
        """Read the extension folders and their state anew, and the code of these ids. Only between jobs."""
        self._guarded("extensions", lambda: self.extensions.refresh(reload))
        self._tell_held()

    def restore(self, held: Held) -> None:
        """What the process before this one held against extensions. Before anything of theirs runs."""
        self.extensions.host.restore(held.faults)
        self._closely = held.closely
        self._tell_held()

    def job_died(self, job_id: str, request: Request, error: AtelierError) -> None:
        """`job_done` for a job in which the engine before this one ended."""
        self._guarded("job_done", lambda: tell_of_death(self.extensions.host, job_id, request, error))

    def _tell_held(self) -> None:
        self._hold(Held(self.extensions.host.faults, self._closely))

    def _answer_waiting(self, guard: Guarding) -> list[str]:
        """The extensions that had a part in the answers."""
        suspects: list[str] = []
        while True:
            try:
                ask = self._asks.get_nowait()
            except queue.Empty:
                return suspects
            if ask.runs_code:
                ask.begin()
                guard.arm()
            self._timed(ask.name, lambda ask=ask: self._answers.answer(ask))  # type: ignore[misc]
            suspects += self._answers.owners(ask)

    def _guarded(self, kind: str, call: Callable[[], None]) -> None:
        """Run code of extensions between the jobs."""
        guard = Guarding(self.models, self.extensions.host, True, self.extensions.shelf)
        guard.arm()
        self._timed(kind, call)
        self._look_after(guard, [], _LOG.warning)

    def _look_after(self, guard: Guarding, suspects: Sequence[str], note: Callable[[str], None]) -> Verdict:
        """What extension code left behind is undone; where that is not enough, this process is to end."""
        verdict = guard.check(sorted(set(suspects)), note)
        self._closely = verdict.open or (self._closely and not verdict.said)
        if verdict.said:
            self.extensions.drop()
            self._tell_held()
        elif not self.models.modules:
            self.extensions.shelf.clear()  # control networks are made for the checkpoint that is gone
        if verdict.restart:
            self._restart(verdict.said)
        return verdict

    def _timed(self, kind: str, call: Callable[[], None]) -> None:
        self._watch(kind, None)
        begun = time.monotonic()
        try:
            call()
        finally:
            self._watch(kind, time.monotonic() - begun)


def as_user_error(error: Exception, left_behind: str = "", extensions: Sequence[str] = ()) -> AtelierError:
    """What the user is told of a fault that nobody foresaw, or of a device that is full.

    left_behind: what extensions left changed in the job, and which. extensions: those that took part in it.
    """
    if isinstance(error, AtelierError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The device has not enough memory for this job.",
            "Make the picture or the batch smaller, or start with --lowvram.",
        )
    said = str(error).strip().splitlines()
    fault = f"{type(error).__name__}: {said[0] if said else type(error).__name__}"
    if left_behind:
        return ExtensionError(f"The job failed after something was changed under it ({left_behind}): {fault}", CURE)
    if extensions:
        named = ", ".join(f'"{id}"' for id in sorted(set(extensions)))
        cure = f"Extensions took part ({named}): try without them, and report this if it still fails."
        return AtelierError(f"The job failed: {fault}", cure)
    return AtelierError(f"The job failed: {fault}", "Please report this with the steps that led to it.")
