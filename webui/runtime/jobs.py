"""What every face calls: the page, REST and the command line make, follow and stop jobs here and nowhere else."""

from __future__ import annotations

import secrets
import time

from webui.runtime.ledger import Ledger
from webui.runtime.prepare import Desk
from webui.runtime.runner import Runner
from webui.runtime.subscription import Subscription, Wake
from webui.schema.errors import NotFound
from webui.schema.requests import Request
from webui.schema.results import JobView

MOST_LISTED = 500


class Jobs:
    """Jobs of all owners. Every method names the owner who asks: somebody else's job does not exist for them."""

    def __init__(self, ledger: Ledger, runner: Runner, desk: Desk) -> None:
        self._ledger = ledger
        self._runner = runner
        self._desk = desk

    def submit(self, request: Request, owner: str, key: str | None = None) -> str:
        """Make a job and return its id at once.

        key: names this one press of the button: submitted again under it, the same job is meant.

        Raises:
            NotFound, ModelError, BadRequest: the request cannot be run (see `Desk`). QueueFull, DiskError.
        """
        known = self._ledger.by_key(owner, key) if key else None
        if known is not None:
            return known
        fixed, notes = self._desk.take(request)
        view = JobView(
            id=secrets.token_hex(16),
            owner=owner,
            kind=fixed.kind,
            state="queued",
            request=fixed.model_dump(mode="json"),
            created=time.time(),
            image_count=fixed.n_iter * fixed.batch_size,
            notes=notes,
        )
        return self._ledger.add(view, key)

    def view(self, job_id: str, owner: str) -> JobView:
        """The job as it stands. Raises NotFound."""
        return self._ledger.view(job_id, owner)

    def list(self, owner: str, limit: int = 60, before: str | None = None) -> list[JobView]:
        """The owner's jobs, newest first; `before`: only those older than this job."""
        return self._ledger.newest(owner, max(1, min(limit, MOST_LISTED)), before)

    def subscribe(self, job_id: str, owner: str, wake: Wake | None = None) -> Subscription:
        """Follow a job to its end; see `Subscription`, and `subscription.follow` for an event loop. Raises NotFound."""
        return self._ledger.subscribe(job_id, owner, wake)

    def wait(self, job_id: str, owner: str, cursor: int | None = None, timeout: float | None = None) -> JobView | None:
        """The job's view as soon as it has another cursor than this one, or has ended; None after `timeout` seconds.

        Raises:
            NotFound: this owner has no such job.
        """
        with self.subscribe(job_id, owner) as subscription:
            return subscription.next(cursor, timeout)

    def preview(self, job_id: str, owner: str) -> tuple[int, bytes]:
        """(number, JPEG) of the job's latest preview. Raises NotFound when there is none (any more)."""
        self._ledger.view(job_id, owner)
        found = self._runner.preview(job_id)
        if found is None:
            raise NotFound("There is no preview of this job.", "Only a job that runs has one.")
        return found

    def interrupt(self, job_id: str, owner: str) -> JobView:
        """End the job: at once where it waits, within a step where it runs. One that has ended stays as it is.

        Raises:
            NotFound: this owner has no such job.
        """
        if self._ledger.stop(job_id, owner):
            self._runner.engine.cancel(job_id, "interrupt")
        return self._ledger.view(job_id, owner)

    def skip(self, job_id: str, owner: str) -> JobView:
        """Let a running job go on with its next batch. Raises NotFound when this owner has no such job."""
        view = self._ledger.view(job_id, owner)
        if view.state == "running":
            self._runner.engine.cancel(job_id, "skip")
        return view
