"""Following a job: nothing is lost, nothing piles up, nobody polls."""

from __future__ import annotations

import asyncio
import itertools
import threading

from tests.runtime.conftest import House, finish, txt2img, views_of, wait_until
from webui.runtime.runtime import Runtime
from webui.runtime.subscription import Subscription, follow
from webui.schema.results import JobView

ORDER = ["queued", "running", "done"]


def view_number(cursor: int) -> JobView:
    return JobView(id="a", owner="local", kind="txt2img", state="running", request={}, created=0.0, cursor=cursor)


async def collect(runtime: Runtime, job_id: str, idle: float = 15.0) -> list[JobView | None]:
    return [view async for view in follow(lambda wake: runtime.jobs.subscribe(job_id, "local", wake), idle)]


def test_views_come_in_order_and_only_grow(house: House) -> None:
    runtime = house.open(step_seconds=0.005)
    views = views_of(runtime, runtime.jobs.submit(txt2img(n_iter=3, steps=10), "local"))
    cursors = [view.cursor for view in views]
    assert cursors == sorted(set(cursors))
    assert [ORDER.index(view.state) for view in views] == sorted(ORDER.index(view.state) for view in views)
    assert [view.fraction for view in views] == sorted(view.fraction for view in views)
    for before, after in itertools.pairwise(views):
        assert after.images[: len(before.images)] == before.images
    assert len(views[-1].images) == 3


def test_every_subscriber_sees_the_end_with_every_picture(house: House) -> None:
    runtime = house.open(step_seconds=0.0)
    job_id = runtime.jobs.submit(txt2img(n_iter=20, steps=1), "local")
    lasts: list[JobView] = []
    threads = [threading.Thread(target=lambda: lasts.append(finish(runtime, job_id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lasts) == 8
    assert {view.model_dump_json() for view in lasts} == {runtime.jobs.view(job_id, "local").model_dump_json()}
    assert len(lasts[0].images) == 20


def test_a_reader_who_sleeps_misses_nothing(runtime: Runtime) -> None:
    job_id = runtime.jobs.submit(txt2img(n_iter=5, batch_size=2), "local")
    with runtime.jobs.subscribe(job_id, "local") as asleep:
        finish(runtime, job_id)
        view = asleep.next(timeout=0)
    assert view is not None
    assert (view.state, len(view.images)) == ("done", 10)


def test_a_subscription_holds_one_view_however_many_come() -> None:
    left: list[Subscription] = []
    subscription = Subscription(view_number(0), left.append)
    for cursor in range(1, 1000):
        subscription.publish(view_number(cursor))
    assert subscription.next(0, timeout=0) == view_number(999)
    assert subscription.next(999, timeout=0) is None
    subscription.close()
    assert left == [subscription]


def test_a_wait_ends_with_the_first_news_after_the_cursor(runtime: Runtime) -> None:
    job_id = runtime.jobs.submit(txt2img(), "local")
    last = finish(runtime, job_id)
    assert runtime.jobs.wait(job_id, "local", cursor=last.cursor) == last
    assert runtime.jobs.wait(job_id, "local", cursor=0) == last


def test_a_wait_without_news_gives_up(house: House) -> None:
    runtime = house.open(start_seconds=60)
    job_id = runtime.jobs.submit(txt2img(), "local")
    view = wait_until(runtime, job_id, message="The engine is starting.")
    assert runtime.jobs.wait(job_id, "local", view.cursor, timeout=0.01) is None


def test_a_reader_who_left_is_forgotten(house: House) -> None:
    runtime = house.open(start_seconds=60)
    job_id = runtime.jobs.submit(txt2img(), "local")
    woken: list[int] = []
    with runtime.jobs.subscribe(job_id, "local", lambda: woken.append(1)):
        pass
    count = len(woken)
    runtime.jobs.interrupt(job_id, "local")
    assert len(woken) == count


def test_an_event_loop_follows_many_jobs_without_threads_of_its_own(house: House) -> None:
    runtime = house.open(step_seconds=0.002)
    ids = [runtime.jobs.submit(txt2img(steps=5), "local") for _ in range(5)]
    threads: set[int] = set()

    async def watch_all() -> list[list[JobView | None]]:
        followers = [asyncio.create_task(collect(runtime, job_id)) for job_id in ids * 20]
        while not all(follower.done() for follower in followers):
            await asyncio.sleep(0.01)
            threads.add(threading.active_count())
        return [await follower for follower in followers]

    before = threading.active_count()
    stories = asyncio.run(watch_all())
    assert max(threads) < before + 40  # 100 readers; subscribing borrows some of the loop's own pool
    for job_id, story in zip(ids * 20, stories, strict=True):
        assert None not in story
        assert story[-1] == runtime.jobs.view(job_id, "local")


def test_a_follower_without_news_hears_that_the_connection_lives(house: House) -> None:
    runtime = house.open(start_seconds=60)
    first, waiting = (runtime.jobs.submit(txt2img(), "local") for _ in range(2))
    wait_until(runtime, first, message="The engine is starting.")

    async def listen() -> list[JobView | None]:
        stream = follow(lambda wake: runtime.jobs.subscribe(waiting, "local", wake), idle=0.01)
        heard = [await anext(stream) for _ in range(3)]
        runtime.jobs.interrupt(waiting, "local")
        return heard + [view async for view in stream]

    heard = asyncio.run(listen())
    assert heard[0] is not None
    assert (heard[0].state, heard[1], heard[2]) == ("queued", None, None)
    assert heard[-1] is not None
    assert heard[-1].state == "interrupted"


def test_a_loop_that_has_gone_does_not_disturb_the_job(house: House) -> None:
    runtime = house.open(step_seconds=0.005)
    job_id = runtime.jobs.submit(txt2img(steps=30), "local")

    async def look_once() -> None:
        stream = follow(lambda wake: runtime.jobs.subscribe(job_id, "local", wake))
        await anext(stream)
        keep.append(stream)

    keep: list[object] = []
    asyncio.run(look_once())
    assert finish(runtime, job_id).state == "done"
