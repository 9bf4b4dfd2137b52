"""What is still known after the server was stopped, killed, or killed in the middle of a save."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.conftest import House, engine_of, finish, txt2img, wait_until
from webui.runtime.runtime import Runtime
from webui.schema.results import JobView


def test_jobs_that_waited_go_on_in_their_order(house: House) -> None:
    runtime = house.open(start_seconds=60)
    running = runtime.jobs.submit(txt2img(), "local")
    wait_until(runtime, running, state="running")
    waiting = [runtime.jobs.submit(txt2img(f"job {i}", seed=i), "local") for i in range(5)]
    cancelled = waiting.pop(2)
    runtime.jobs.interrupt(cancelled, "local")
    runtime = house.open()
    views = [finish(runtime, job_id) for job_id in waiting]
    assert [view.state for view in views] == ["done"] * 4
    assert [view.request["prompt"] for view in views] == ["job 0", "job 1", "job 3", "job 4"]
    assert engine_of(runtime).seen == waiting
    assert runtime.jobs.view(cancelled, "local").state == "interrupted"


def test_a_job_that_ran_is_over_and_keeps_its_pictures(house: House) -> None:
    runtime = house.open(step_seconds=0.01)
    job_id = runtime.jobs.submit(txt2img(n_iter=100, steps=1), "local")
    made = wait_until(runtime, job_id, fraction=0.04).images
    runtime = house.open()
    view = runtime.jobs.view(job_id, "local")
    assert view.state == "interrupted"
    assert view.error is not None
    assert view.error["message"] == "The server was stopped while this job ran."
    assert view.images[: len(made)] == made
    assert runtime.outputs.get(made[0].id, "local").is_file()
    assert engine_of(runtime).seen == []


def test_the_gallery_is_there_after_a_restart(house: House) -> None:
    runtime = house.open()
    first = finish(runtime, runtime.jobs.submit(txt2img(batch_size=3), "local", key="press"))
    runtime = house.open()
    assert runtime.jobs.list("local") == [first]
    assert runtime.outputs.recent("local") == list(first.images)[::-1]
    assert runtime.jobs.submit(txt2img(), "local", key="press") == first.id


def test_a_waiting_job_that_this_version_cannot_read_fails_with_the_reason(house: House) -> None:
    runtime = house.open(start_seconds=60)
    wait_until(runtime, runtime.jobs.submit(txt2img(), "local"), state="running")
    job_id = runtime.jobs.submit(txt2img(), "local")
    house.close()
    with sqlite3.connect(house.settings().database) as connection:
        row = connection.execute("SELECT view FROM jobs WHERE id = ?", (job_id,)).fetchone()
        data = json.loads(row[0])
        data["request"]["from_the_future"] = 1
        connection.execute("UPDATE jobs SET view = ? WHERE id = ?", (json.dumps(data), job_id))
    view = finish(house.open(), job_id)
    assert view.error is not None
    assert (view.state, view.error["message"]) == ("failed", "unknown field 'from_the_future'")


def test_closing_interrupts_the_running_job_and_returns_soon(house: House) -> None:
    runtime = house.open(step_seconds=0.01)
    job_id = runtime.jobs.submit(txt2img(steps=1000), "local")
    wait_until(runtime, job_id, step=1)
    with runtime.jobs.subscribe(job_id, "local") as subscription:
        begun = time.monotonic()
        house.close()
        assert time.monotonic() - begun < 5
        assert subscription.newest.state == "interrupted"


def run_server(root: Path, jobs: int, point: str = "", kill_after: int | None = None) -> list[dict[str, str]]:
    """What a server said until it ended, died, or was killed after so many lines."""
    command = [sys.executable, "-m", "tests.runtime.server", str(root), str(jobs), point]
    said: list[dict[str, str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(json.loads(line))
            if len(said) == kill_after:
                process.kill()
    assert len(said) >= jobs, "the server did not start"
    return said


def assert_sound(runtime: Runtime, said: list[dict[str, str]]) -> list[JobView]:
    """Every job accepted ends; every picture named is there and whole; no file is torn. Returns the last views."""
    views = [finish(runtime, line["job"]) for line in said if "job" in line]
    assert {view.state for view in views} <= {"done", "interrupted"}
    named = [image.id for view in views for image in view.images]
    assert {line["image"] for line in said if "image" in line} <= set(named)
    assert len(named) == len(set(named))
    paths = [runtime.outputs.get(image_id, "local") for image_id in named]
    assert len(paths) == len(set(paths))
    for path in runtime.settings.output_dir.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
    assert sum(view.state == "interrupted" for view in views) <= 1
    return views


@pytest.mark.parametrize(
    "point", ["before writing", "before fsync", "before rename", "after rename", "before the row", "after the row"]
)
def test_killed_at_any_moment_of_a_save_no_picture_is_torn_and_no_record_lies(house: House, point: str) -> None:
    said = run_server(house.root, 2, point)
    assert [set(line) for line in said if "job" not in line] == []
    runtime = house.open()
    views = assert_sound(runtime, said)
    files = list(runtime.settings.output_dir.rglob("*.png"))
    orphans = len(files) - sum(len(view.images) for view in views)
    assert orphans == (point in ("after rename", "before the row"))


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_nothing_acknowledged_is_lost(house: House, kills: int) -> None:
    chance = random.Random(kills)
    said: list[dict[str, str]] = []
    for _ in range(kills):
        said += run_server(house.root, 3, kill_after=chance.randint(3, 8))
    runtime = house.open()
    views = [finish(runtime, line["job"]) for line in said if "job" in line]
    assert len(views) == 3 * kills
    assert {view.state for view in views} <= {"done", "interrupted"}
    assert sum(view.state == "interrupted" for view in views) <= kills
    named = {image.id for view in views for image in view.images}
    assert {line["image"] for line in said if "image" in line} <= named
    for image_id in named:
        with Image.open(runtime.outputs.get(image_id, "local")) as image:
            image.load()
