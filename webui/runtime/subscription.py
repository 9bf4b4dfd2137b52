"""How somebody follows a job without asking again and again.

A view holds all that is known of its job, so the newest one stands for all before it: a subscription keeps one view,
however slow its reader, and yet nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from webui.schema.results import JobView

Wake = Callable[[], None]


class Subscription:
    """The newest view of one job, and a wait for the next.

    wake: called from the publishing thread whenever there is news; it must return at once and never raise.
    leave: called once, when the reader goes.
    """

    def __init__(self, view: JobView, leave: Callable[[Subscription], None], wake: Wake | None = None) -> None:
        self.job_id = view.id
        self._changed = threading.Condition()
        self._newest = view
        self._leave = leave
        self._wake = wake

    @property
    def newest(self) -> JobView:
        return self._newest

    def publish(self, view: JobView) -> None:
        """There is a newer view."""
        with self._changed:
            self._newest = view
            self._changed.notify_all()
        if self._wake is not None:
            self._wake()

    def next(self, cursor: int | None = None, timeout: float | None = None) -> JobView | None:
        """The newest view as soon as its cursor is another than this one; None when that takes over `timeout` s.

        A finished job has no news: its last view comes at once.
        """

        def is_news() -> bool:
            return self._newest.cursor != cursor or self._newest.finished_for_good

        with self._changed:
            return self._newest if self._changed.wait_for(is_news, timeout) else None

    def close(self) -> None:
        self._leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


async def follow(subscribe: Callable[[Wake], Subscription], idle: float = 15.0) -> AsyncIterator[JobView | None]:
    """The views of a job from now to its end, for an event loop; no thread waits meanwhile.

    subscribe: makes the subscription, as `lambda wake: jobs.subscribe(job_id, owner, wake)`; may read the database.
    None stands for `idle` seconds without news: the moment to tell a proxy that the connection lives.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(news.set)

    with await asyncio.to_thread(subscribe, wake) as subscription:
        told: int | None = None
        while True:
            news.clear()
            view = subscription.newest
            if view.cursor != told or view.finished_for_good:
                told = view.cursor
                yield view
            if view.finished_for_good:
                return
            try:
                await asyncio.wait_for(news.wait(), idle)
            except TimeoutError:
                yield None
