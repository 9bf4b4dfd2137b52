"""The web process's end of the engine: what its child is given to do, and what becomes of its jobs. Needs no torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from webui.engine.handed import HandedJob
from webui.engine.interface import Answered, Mode, OnEvent
from webui.engine.questions import Questions
from webui.engine.spawn import EngineOptions
from webui.engine.supervisor import Supervisor
from webui.engine.wire import Message
from webui.schema.asks import What
from webui.schema.errors import AtelierError, EngineDied
from webui.schema.events import Done, Event, Failed, Note, Stage, parse_event
from webui.schema.requests import Request


class EngineProcess:
    """One supervised child process. It is handed one job at a time; each gets exactly one Done or Failed event.

    on_event is called from a thread of the engine's own. A child that ends or hangs fails its job with the reason and
    is started again; the next job waits for it. Where it ended in the middle of a question, the question fails, and the
    job is begun anew, once.
    """

    def __init__(self, options: EngineOptions, on_event: OnEvent) -> None:
        self._supervisor = Supervisor(options, self._heard, self._child_gone)
        self._on_event = on_event
        self._lock = threading.RLock()
        self._job: HandedJob | None = None
        self._unusable: AtelierError | None = None
        self._questions = Questions()
        self._died: dict[str, Any] | None = None
        self._planned: str | None = None
        self._held: dict[str, Any] = {"faults": {}, "closely": False}
        self.ready = False
        self.message = "The engine is starting."
        self.restarts = 0

    @property
    def faults(self) -> dict[str, str]:
        """Extensions that run no more until they are reloaded, by id: why. The next child is told, too."""
        with self._lock:
            return {id: str(fault["reason"]) for id, fault in self._held["faults"].items()}

    def start(self) -> None:
        """Start the child process; returns at once."""
        self._supervisor.start()

    def stop(self) -> None:
        """End the child process and the threads; a job that runs gets no further event."""
        with self._lock:
            self._job = None
        self._supervisor.stop()
        self._questions.fail(EngineDied("The engine was stopped.", "Start the server again."))

    def submit(self, job_id: str, request: Request, images: Mapping[str, bytes]) -> None:
        """Hand over a job. It waits for an engine that is still starting.

        Raises:
            RuntimeError: when the job before it has not ended.
        """
        with self._lock:
            if self._job is not None:
                raise RuntimeError(f"job {self._job.id} still runs")
            self._job = HandedJob(job_id, request, images)
            unusable = self._unusable
            if self.ready:
                self._supervisor.send(*self._job.message())
        if unusable is not None:
            self._end_job(Failed(job_id=job_id, error=unusable.to_json()))

    def cancel(self, job_id: str, mode: Mode) -> None:
        """Ask the running job to stop ("interrupt") or to go on with the next batch ("skip")."""
        with self._lock:
            if self._job is None or self._job.id != job_id:
                return
            self._job.stopped = self._job.stopped or mode == "interrupt"
            if self.ready:
                self._supervisor.send({"type": "cancel", "job_id": job_id, "mode": mode})
                return
        if mode == "interrupt":  # the engine is still starting and never saw it
            self._end_job(Done(job_id=job_id, interrupted=True))

    def ask(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Future[Answered]:
        """Ask something beside the jobs; a question waits for an engine that is still starting."""
        with self._lock:
            question = self._questions.add(what, body, images)
            unusable = self._unusable
            self._send_questions()
        if unusable is not None:
            self._questions.fail(unusable)
        return question.future

    def refresh_extensions(self, reload: Sequence[str] = ()) -> None:
        """Before the next job: read the extension folders and their state anew, and the code of these ids."""
        if reload:
            self._questions.reloaded()
        with self._lock:
            for id in reload:
                self._held["faults"].pop(id, None)
            if self.ready:  # an engine that starts reads them anyway
                self._supervisor.send({"type": "extensions", "reload": list(reload)})

    def _send_questions(self) -> None:
        """Those that wait for a child that is ready; what ended one before waits until no job runs. Under the lock."""
        if self.ready:
            for question in self._questions.take(job_runs=self._job is not None):
                self._supervisor.send(*question.message())

    def _heard(self, message: Message) -> None:
        body = message.body
        if body["type"] == "event":
            self._pass_on(parse_event(body["event"]), message.frames[0] if message.frames else None)
        elif body["type"] == "held":
            with self._lock:
                self._held = body["held"]
        elif body["type"] == "asking":
            self._questions.begun(str(body["id"]))
        elif body["type"] == "answer":
            self._questions.answered(message)
        elif body["type"] == "ready":
            self._child_ready(str(body["device"]))
        elif body["type"] == "restart":
            self._child_ends(str(body["reason"]))
        elif body["type"] == "unusable":
            self._cannot_start(AtelierError.from_json(body["error"]))

    def _child_ready(self, device: str) -> None:
        with self._lock:
            self.ready = True
            self.message = f"The engine runs on {device}."
            self._supervisor.send({"type": "held", "held": self._held})
            died, self._died = self._died, None
            if died is not None:
                self._supervisor.send(died)
            self._send_questions()
            if self._job is not None:
                self._supervisor.send(*self._job.message())

    def _child_ends(self, reason: str) -> None:
        """The child will end by itself once its job is done: what is handed over from now on waits for the next one."""
        with self._lock:
            self.ready = False
            self._planned = reason
            self.message = f"The engine is being started again: {reason}"

    def _cannot_start(self, error: AtelierError) -> None:
        """The options are wrong: starting again would not help, every job is told why."""
        self._supervisor.give_up()
        with self._lock:
            self._unusable = error
            self.message = str(error)
            job = self._job
        if job is not None:
            self._end_job(Failed(job_id=job.id, error=error.to_json()))
        self._questions.fail(error)

    def _pass_on(self, event: Event, blob: bytes | None) -> None:
        with self._lock:
            if self._job is None or event.job_id != self._job.id:
                return
            new = self._job.is_new(event)
        if isinstance(event, (Done, Failed)):
            self._end_job(event)
        elif new:
            self._on_event(event, blob)

    def _end_job(self, event: Done | Failed) -> None:
        """The one place that ends a job, so that it ends once."""
        with self._lock:
            if self._job is None or self._job.id != event.job_id:
                return
            self._job = None
            self._send_questions()
        self._on_event(event, None)

    def _child_gone(self, reason: str) -> bool:
        """Fail what the child had begun; whether it had announced its end and had nothing to do any more."""
        with self._lock:
            was_ready, self.ready = self.ready, False
            planned, self._planned = self._planned, None
            job = self._job
            if planned is None or (job is not None and job.begun):
                planned = None
                self.restarts += 1
                self.message = f"The engine stopped ({reason}) and is being started again."
        asked = self._questions.child_gone(reason)
        if planned is not None:
            return True
        if asked is None:
            self._job_lost(job, reason, was_ready)
        elif job is not None and job.begun:
            self._job_hit(job, reason, asked)
        return False

    def _job_lost(self, job: HandedJob | None, reason: str, was_ready: bool) -> None:
        """The child ended by itself, or in the middle of the job."""
        if job is not None and (was_ready or job.begun):
            error = EngineDied(
                f"The engine stopped in the middle of this job: {reason}.", "It starts again by itself; try again."
            )
            self._died = {**job.body, "type": "died", "error": error.to_json()}
            self._end_job(Failed(job_id=job.id, error=error.to_json()))
        elif job is not None and self.restarts >= 3:
            error = EngineDied(f"The engine does not start: {reason}.", "The lines before this one say why.")
            self._end_job(Failed(job_id=job.id, error=error.to_json()))
        if was_ready or self.restarts >= 3:
            self._questions.fail(EngineDied(f"The engine stopped: {reason}.", "It starts again by itself; try again."))

    def _job_hit(self, job: HandedJob, reason: str, asked: str) -> None:
        """The child ended in the middle of a question that it answered while it drew this job."""
        if job.stopped:
            self._end_job(Done(job_id=job.id, interrupted=True))
        elif job.again:
            self._job_lost(job, reason, True)
        else:
            with self._lock:
                job.begin_anew()
            note = f"The engine stopped in the middle of something else ({asked}): this job was begun anew."
            self._on_event(Note(job_id=job.id, message=note), None)
            self._on_event(Stage(job_id=job.id, message=self.message), None)
