"""The event stream of a job: each message is the whole view of it, so whoever connects anew has missed nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse

from webui.api.identity import Owner, current_user
from webui.runtime.jobs import Jobs
from webui.runtime.subscription import Subscription, Wake, follow
from webui.schema.results import JobView

# A page cannot show more; a fast model makes hundreds of steps a second.
SHORTEST_PAUSE = 0.05
LastEventId = Annotated[str | None, Header(max_length=40)]
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def build_router(jobs: Jobs) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(current_user)])

    @router.get("/jobs/{job_id}/events")
    async def events(job_id: str, owner: Owner, last_event_id: LastEventId = None) -> StreamingResponse:
        """Views of the job until it ends. With Last-Event-ID, a view that was seen already is not sent again."""

        def subscribe(wake: Wake) -> Subscription:
            return jobs.subscribe(job_id, owner, wake)

        await asyncio.to_thread(jobs.view, job_id, owner)  # a job that is not there is a 404, not an empty stream
        messages = _messages(follow(subscribe), last_event_id)
        return StreamingResponse(messages, media_type="text/event-stream", headers=HEADERS)

    return router


async def _messages(views: AsyncIterator[JobView | None], seen: str | None) -> AsyncIterator[str]:
    async for view in views:
        if view is None:
            yield ": still here\n\n"
        elif str(view.cursor) != seen or view.finished_for_good:
            yield f"id: {view.cursor}\ndata: {view.model_dump_json()}\n\n"
            await asyncio.sleep(SHORTEST_PAUSE)
