"""The state of every job, and every step from one state to the next. Each step is atomic, here and in the records."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from typing import Any

from webui.runtime.records import Records
from webui.runtime.subscription import Subscription, Wake
from webui.runtime.turns import Turns
from webui.schema.errors import AtelierError, DiskError, NotFound, QueueFull
from webui.schema.results import JobView, State

log = logging.getLogger(__name__)
STOPPED = AtelierError("The server was stopped while this job ran.", "Generate again; pictures already made are kept.")


class Ledger:
    """Jobs that wait or run are held in memory; the others are read from the records.

    A record that cannot be written (a full disk) stops no job: it is then known until the server ends.
    """

    def __init__(self, records: Records, max_queued: int, max_queued_per_owner: int) -> None:
        self._records = records
        self._max_queued = max_queued
        self._max_queued_per_owner = max_queued_per_owner
        self._changed = threading.Condition(threading.RLock())
        self._turns = Turns()
        self._live: dict[str, JobView] = {}
        self._followers: defaultdict[str, list[Subscription]] = defaultdict(list)
        self._to_stop: set[str] = set()
        self._closed = False
        self._take_up()

    def add(self, view: JobView, key: str | None = None) -> str:
        """Let a new job wait. Returns its id, or that of the job which this owner submitted under the same key.

        Raises:
            QueueFull: too many jobs wait. DiskError: its record cannot be written.
        """
        with self._changed:
            known = self._records.by_key(view.owner, key) if key else None
            if known is not None:
                return known
            self._check_room(view.owner)
            self._records.add(view, key)
            self._wait_for_turn(view)
            return view.id

    def by_key(self, owner: str, key: str) -> str | None:
        """The job that this owner submitted under this key."""
        return self._records.by_key(owner, key)

    def claim(self) -> JobView | None:
        """Wait for a job whose turn it is and mark it running; None when the ledger is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._turns) > 0)
            job_id = None if self._closed else self._turns.next()
            if job_id is None:
                return None
            self._change(job_id, state="running", started=time.time(), position=None)
            self._save(job_id)
            self._renumber()
            return self._live[job_id]

    def change(self, job_id: str, **changes: Any) -> None:
        """Note what has changed in a running job; a job that has ended stays as it is."""
        with self._changed:
            view = self._live.get(job_id)
            if view is not None and not view.finished_for_good:
                self._change(job_id, **changes)

    def finish(self, job_id: str, state: State, **changes: Any) -> None:
        """End a job, once: a job that has ended stays as it is."""
        with self._changed:
            view = self._live.get(job_id)
            if view is None or view.finished_for_good:
                return
            ended = {"finished": time.time(), "position": None, "message": "", "eta_seconds": None}
            self._to_stop.discard(job_id)
            self._change(job_id, state=state, **{**ended, **changes})
            if self._save(job_id):
                del self._live[job_id]
            self._followers.pop(job_id, None)

    def stop(self, job_id: str, owner: str) -> bool:
        """Interrupt a job: one that waits ends here. True: it runs, and whoever runs it must be told.

        Raises:
            NotFound: this owner has no such job.
        """
        with self._changed:
            view = self.view(job_id, owner)
            if self._turns.remove(owner, job_id):
                self.finish(job_id, "interrupted")
                self._renumber()
                return False
            if view.state != "running":
                return False
            self._to_stop.add(job_id)
            self._change(job_id, message="stopping")
            return True

    def shall_stop(self, job_id: str) -> bool:
        """Whether the owner of this running job asked for its end."""
        with self._changed:
            return job_id in self._to_stop

    def view(self, job_id: str, owner: str) -> JobView:
        """The job as it stands. Raises NotFound when this owner has no such job."""
        with self._changed:
            view = self._live.get(job_id) or self._records.job(job_id)
            if view is None or view.owner != owner:
                raise NotFound("There is no such job.", "It may belong to another user.")
            return view

    def newest(self, owner: str, limit: int, before: str | None = None) -> list[JobView]:
        """The owner's jobs, newest first; `before`: only those older than this job."""
        with self._changed:
            return [self._live.get(view.id, view) for view in self._records.newest(owner, limit, before)]

    def subscribe(self, job_id: str, owner: str, wake: Wake | None = None) -> Subscription:
        """Follow a job. Raises NotFound when this owner has no such job."""
        with self._changed:
            view = self.view(job_id, owner)
            subscription = Subscription(view, self._leave, wake)
            if not view.finished_for_good:
                self._followers[job_id].append(subscription)
            return subscription

    def close(self) -> None:
        """Hand out no more jobs; a job that still runs counts as interrupted, those that wait are kept for later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for view in list(self._live.values()):
                if view.state == "running":
                    self.finish(view.id, "interrupted", error=STOPPED.to_json())

    def _take_up(self) -> None:
        """After a restart: jobs that waited wait again, jobs that ran are over."""
        with self._changed:
            for view in self._records.unfinished():
                if view.state == "queued":
                    self._wait_for_turn(view)
                else:
                    self._live[view.id] = view
                    self.finish(view.id, "interrupted", error=STOPPED.to_json())

    def _check_room(self, owner: str) -> None:
        waiting, own = len(self._turns), self._turns.count(owner)
        if waiting >= self._max_queued or own >= self._max_queued_per_owner:
            raise QueueFull(f"{waiting} jobs wait already, {own} of them yours.", "Try again when some are done.")

    def _wait_for_turn(self, view: JobView) -> None:
        self._live[view.id] = view
        self._turns.add(view.owner, view.id)
        self._renumber()
        self._changed.notify_all()

    def _renumber(self) -> None:
        """Tell the jobs that wait how many turns are left (1 = the next)."""
        for position, job_id in enumerate(self._turns.order(), start=1):
            if self._live[job_id].position != position:
                self._change(job_id, position=position)

    def _change(self, job_id: str, **changes: Any) -> None:
        view = self._live[job_id]
        self._live[job_id] = view = view.model_copy(update={**changes, "cursor": view.cursor + 1})
        for follower in self._followers.get(job_id, ()):
            follower.publish(view)

    def _save(self, job_id: str) -> bool:
        try:
            self._records.save(self._live[job_id])
        except DiskError as error:
            log.error("the record of job %s was not written: %s", job_id, error)
            return False
        return True

    def _leave(self, subscription: Subscription) -> None:
        with self._changed:
            followers = self._followers.get(subscription.job_id, [])
            if subscription in followers:
                followers.remove(subscription)
            if not followers:
                self._followers.pop(subscription.job_id, None)
