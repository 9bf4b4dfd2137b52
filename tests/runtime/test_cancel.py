"""Interrupt and Skip, at every moment of a job's life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.conftest import House, engine_of, finish, txt2img, wait_until
from webui.runtime.database import Database
from webui.runtime.ledger import Ledger
from webui.runtime.records import Records
from webui.runtime.runtime import Runtime
from webui.schema.results import JobView

LONG: dict[str, Any] = {"steps": 1000}


def start(house: House, **engine: Any) -> tuple[Runtime, str]:
    """A runtime and a long job that draws."""
    runtime = house.open(**{"step_seconds": 0.01, **engine})
    job_id = runtime.jobs.submit(txt2img(**LONG), "local")
    wait_until(runtime, job_id, state="running")
    return runtime, job_id


def while_queued(house: House) -> tuple[Runtime, str]:
    runtime, _ = start(house)
    return runtime, runtime.jobs.submit(txt2img(**LONG), "local")


def while_engine_starts(house: House) -> tuple[Runtime, str]:
    return start(house, start_seconds=0.3)


def while_drawing(house: House) -> tuple[Runtime, str]:
    runtime, job_id = start(house)
    wait_until(runtime, job_id, step=2)
    return runtime, job_id


def after_the_end(house: House) -> tuple[Runtime, str]:
    runtime = house.open()
    job_id = runtime.jobs.submit(txt2img(), "local")
    finish(runtime, job_id)
    return runtime, job_id


def after_a_failure(house: House) -> tuple[Runtime, str]:
    runtime = house.open()
    job_id = runtime.jobs.submit(txt2img("raise@1"), "local")
    finish(runtime, job_id)
    return runtime, job_id


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        (while_queued, "interrupted"),
        (while_engine_starts, "interrupted"),
        (while_drawing, "interrupted"),
        (after_the_end, "done"),
        (after_a_failure, "failed"),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_ends_a_job_at_any_moment(
    house: House, moment: Callable[[House], tuple[Runtime, str]], state: str, times: int
) -> None:
    runtime, job_id = moment(house)
    for _ in range(times):
        runtime.jobs.interrupt(job_id, "local")
    assert finish(runtime, job_id).state == state


@pytest.mark.parametrize(
    ("moment", "state"),
    [(while_queued, "queued"), (while_drawing, "done"), (after_the_end, "done"), (after_a_failure, "failed")],
)
def test_a_skip_goes_on_with_the_next_batch_and_leaves_other_jobs_alone(
    house: House, moment: Callable[[House], tuple[Runtime, str]], state: str
) -> None:
    runtime, job_id = moment(house)
    runtime.jobs.skip(job_id, "local")
    if state == "done":
        assert finish(runtime, job_id).state == state
    assert runtime.jobs.view(job_id, "local").state == state


def test_a_skip_shows_what_there_is_and_draws_the_next_batch(house: House) -> None:
    runtime = house.open(step_seconds=0.005)
    job_id = runtime.jobs.submit(txt2img(n_iter=2, steps=30, seed=3), "local")
    wait_until(runtime, job_id, step=2)
    runtime.jobs.skip(job_id, "local")
    view = finish(runtime, job_id)
    assert view.state == "done"
    assert [image.seed for image in view.images] == [3, 4]
    assert [note.startswith("Stopped at step") for note in view.notes] == [True]


def test_an_interrupted_job_keeps_the_pictures_it_has(house: House) -> None:
    runtime = house.open(step_seconds=0.01)
    job_id = runtime.jobs.submit(txt2img(n_iter=100, steps=1), "local")
    made = wait_until(runtime, job_id, fraction=0.03).images
    runtime.jobs.interrupt(job_id, "local")
    view = finish(runtime, job_id)
    assert view.state == "interrupted"
    assert view.images[: len(made)] == made
    assert len(view.images) < 100
    for image in view.images:
        assert runtime.outputs.get(image.id, "local").is_file()


def test_an_interrupted_job_that_waited_never_reaches_the_engine(house: House) -> None:
    runtime, first = start(house)
    waiting = [runtime.jobs.submit(txt2img(), "local") for _ in range(3)]
    view = runtime.jobs.interrupt(waiting[1], "local")
    assert (view.state, view.position) == ("interrupted", None)
    assert [runtime.jobs.view(job_id, "local").position for job_id in waiting] == [1, None, 2]
    runtime.jobs.interrupt(first, "local")
    assert [finish(runtime, job_id).state for job_id in waiting] == ["done", "interrupted", "done"]
    assert engine_of(runtime).seen == [first, waiting[0], waiting[2]]


def test_an_interrupt_between_claim_and_hand_over_is_not_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = house.open(step_seconds=0.01)
    claimed, go_on = threading.Event(), threading.Event()
    submit = engine_of(runtime).submit

    def slow_submit(*arguments: Any) -> None:
        claimed.set()
        assert go_on.wait(10)
        submit(*arguments)

    monkeypatch.setattr(engine_of(runtime), "submit", slow_submit)
    job_id = runtime.jobs.submit(txt2img(**LONG), "local")
    assert claimed.wait(10)
    assert runtime.jobs.interrupt(job_id, "local").message == "stopping"
    go_on.set()
    assert finish(runtime, job_id).state == "interrupted"


def test_an_interrupt_while_a_picture_is_saved_keeps_the_picture(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = house.open()
    saving, go_on = threading.Event(), threading.Event()
    save = runtime.outputs.save

    def slow_save(*arguments: Any) -> Any:
        saving.set()
        assert go_on.wait(10)
        return save(*arguments)

    monkeypatch.setattr(runtime.outputs, "save", slow_save)
    job_id = runtime.jobs.submit(txt2img(n_iter=50), "local")
    assert saving.wait(10)
    runtime.jobs.interrupt(job_id, "local")
    go_on.set()
    view = finish(runtime, job_id)
    assert view.state == "interrupted"
    assert len(view.images) >= 1


def waiting_job(number: int) -> JobView:
    owner = f"owner {number % 3}"
    return JobView(id=f"job {number}", owner=owner, kind="txt2img", state="queued", request={}, created=0.0)


@pytest.mark.parametrize("round_", range(5))
def test_each_job_is_claimed_or_interrupted_and_never_both(house: House, round_: int) -> None:
    """Four threads claim and four interrupt the same fifty jobs at the same time."""
    ledger = Ledger(Records(Database(house.root / "race.db")), 100, 100)
    jobs = [waiting_job(number) for number in range(50)]
    for job in jobs:
        ledger.add(job)
    barrier, claimed, running_asked = threading.Barrier(8), [], []

    def claim() -> None:
        barrier.wait()
        while (view := ledger.claim()) is not None:
            claimed.append(view.id)
            ledger.finish(view.id, "done")

    def interrupt(offset: int) -> None:
        barrier.wait()
        for job in jobs[offset::4]:
            if ledger.stop(job.id, job.owner):
                running_asked.append(job.id)

    workers = [threading.Thread(target=claim) for _ in range(4)]
    stoppers = [threading.Thread(target=interrupt, args=(offset,)) for offset in range(4)]
    for thread in [*workers, *stoppers]:
        thread.start()
    for thread in stoppers:
        thread.join()
    while any(not ledger.view(job.id, job.owner).finished_for_good for job in jobs):
        time.sleep(0.002)
    ledger.close()
    for thread in workers:
        thread.join()
    states = [ledger.view(job.id, job.owner).state for job in jobs]
    assert len(claimed) == len(set(claimed)) == states.count("done")
    assert states.count("done") + states.count("interrupted") == 50
    assert set(running_asked) <= set(claimed)
