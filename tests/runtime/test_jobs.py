"""Jobs from submission to their end, whoever asks, and however they end."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fake_engine import TOYBOX, FakeModels, picture_of
from tests.runtime.conftest import House, engine_of, finish, txt2img, views_of, wait_until
from webui.runtime.runtime import Runtime
from webui.schema.errors import BadRequest, ModelError, NotFound, QueueFull
from webui.schema.requests import Request, parse_request
from webui.schema.results import JobView, ModelInfo


def pixels_of(runtime: Runtime, image_id: str, owner: str = "local") -> np.ndarray:
    with Image.open(runtime.outputs.get(image_id, owner)) as image:
        return np.asarray(image)


def assert_right_pictures(runtime: Runtime, view: JobView) -> None:
    """Every picture of the job is the one that its record asks for."""
    request = parse_request(view.request)
    assert [image.index for image in view.images] == list(range(view.image_count))
    for image in view.images:
        assert np.array_equal(pixels_of(runtime, image.id, view.owner), picture_of(request, image.index))


def test_a_job_gives_the_pictures_it_was_asked_for(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(txt2img(seed=5, n_iter=2, batch_size=3), "local"))
    assert (view.state, view.fraction, view.error, view.notes) == ("done", 1.0, None, ())
    assert [image.seed for image in view.images] == [5, 6, 7, 8, 9, 10]
    assert_right_pictures(runtime, view)


def test_a_record_can_make_its_pictures_again(runtime: Runtime) -> None:
    first = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert (first.request["model"], first.request["width"], first.request["height"]) == ("toybox", 64, 64)
    assert first.request["seed"] >= 0
    again = finish(runtime, runtime.jobs.submit(parse_request(first.request), "local"))
    assert np.array_equal(pixels_of(runtime, first.images[0].id), pixels_of(runtime, again.images[0].id))


def test_a_picture_carries_its_text(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(txt2img("a ball", negative_prompt="rain", seed=7), "local"))
    text = view.images[0].infotext
    with Image.open(runtime.outputs.get(view.images[0].id, "local")) as image:
        assert image.info["parameters"] == text
    assert text.startswith("a ball\nNegative prompt: rain\nSteps: 3, Sampler: DPM++ 2M, ")
    for part in ("Seed: 7", "Size: 64x64", "Model hash: ababababab", "Model: toybox", "Version: "):
        assert part in text


def test_a_picture_that_a_view_names_is_on_the_disk(runtime: Runtime) -> None:
    job_id = runtime.jobs.submit(txt2img(n_iter=5, steps=1), "local")
    seen = 0
    for view in views_of(runtime, job_id):
        for image in view.images[seen:]:
            assert runtime.outputs.get(image.id, "local").is_file()
        seen = len(view.images)
    assert seen == 5


def test_a_view_after_the_end_is_the_view_of_the_end(runtime: Runtime) -> None:
    last = finish(runtime, runtime.jobs.submit(txt2img(batch_size=2), "local"))
    assert runtime.jobs.view(last.id, "local") == last
    assert runtime.jobs.list("local") == [last]


def test_submitting_does_not_wait_for_the_engine(house: House) -> None:
    runtime = house.open(start_seconds=60)
    view = wait_until(runtime, runtime.jobs.submit(txt2img(), "local"), message="The engine is starting.")
    assert view.state == "running"
    assert [runtime.jobs.view(runtime.jobs.submit(txt2img(), "local"), "local").position for _ in range(3)] == [1, 2, 3]


def test_jobs_that_wait_are_told_how_many_turns_are_left(house: House) -> None:
    runtime = house.open(step_seconds=0.02)
    ids = [runtime.jobs.submit(txt2img(), "local") for _ in range(4)]
    positions = [view.position for view in views_of(runtime, ids[3]) if view.state == "queued"]
    assert positions == sorted(positions, key=lambda position: -(position or 0))
    assert positions[-1] == 1


def test_jobs_are_listed_newest_first_page_by_page(runtime: Runtime) -> None:
    ids = [runtime.jobs.submit(txt2img(steps=1), "local") for _ in range(7)]
    page = runtime.jobs.list("local", limit=3)
    rest = runtime.jobs.list("local", limit=10, before=page[-1].id)
    assert [view.id for view in [*page, *rest]] == ids[::-1]


def test_the_same_key_means_the_same_job(runtime: Runtime) -> None:
    first = runtime.jobs.submit(txt2img(), "local", key="press 1")
    assert runtime.jobs.submit(txt2img(), "local", key="press 1") == first
    finish(runtime, first)
    assert runtime.jobs.submit(txt2img(), "local", key="press 1") == first
    assert runtime.jobs.submit(txt2img(), "local", key="press 2") != first
    assert runtime.jobs.submit(txt2img(), "ann", key="press 1") != first


def test_ten_clicks_at_once_make_one_job(runtime: Runtime) -> None:
    barrier, ids = threading.Barrier(10), []

    def click() -> None:
        barrier.wait()
        ids.append(runtime.jobs.submit(txt2img(), "local", key="press"))

    threads = [threading.Thread(target=click) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 10
    assert len(set(ids)) == len(runtime.jobs.list("local")) == 1


def test_too_many_jobs_are_refused(house: House) -> None:
    runtime = house.open({"max_queued": 5, "max_queued_per_owner": 3}, start_seconds=60)
    wait_until(runtime, runtime.jobs.submit(txt2img(), "ann"), "ann", state="running")
    for _ in range(3):
        runtime.jobs.submit(txt2img(), "ann")
    with pytest.raises(QueueFull, match="3 jobs wait already, 3 of them yours"):
        runtime.jobs.submit(txt2img(), "ann")
    ids = [runtime.jobs.submit(txt2img(), "ben") for _ in range(2)]
    with pytest.raises(QueueFull):
        runtime.jobs.submit(txt2img(), "ben")
    runtime.jobs.interrupt(ids[0], "ben")
    runtime.jobs.submit(txt2img(), "ben")


def test_owners_do_not_see_each_other(house: House) -> None:
    runtime = house.open(step_seconds=0.02)
    job_id = runtime.jobs.submit(txt2img(steps=20), "ann")
    wait_until(runtime, job_id, "ann", preview=1)
    asks: list[Any] = [
        runtime.jobs.view, runtime.jobs.interrupt, runtime.jobs.skip, runtime.jobs.preview, runtime.jobs.subscribe,
        runtime.jobs.wait,
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(NotFound):
            ask(job_id, "ben")
        with pytest.raises(NotFound):
            ask("no such id", "ann")
    assert runtime.jobs.list("ben") == []
    image = finish(runtime, job_id, "ann").images[0]
    for look in (runtime.outputs.get, runtime.outputs.info):
        assert look(image.id, "ann")
        with pytest.raises(NotFound):
            look(image.id, "ben")
    assert runtime.outputs.recent("ben") == []
    assert runtime.outputs.recent("ann") == [image]


def test_two_owners_get_their_own_pictures_and_take_turns(house: House) -> None:
    runtime = house.open(step_seconds=0.0)
    asked = [(owner, txt2img(f"{owner} {i}", steps=1, seed=i)) for owner in ("ann", "ben") for i in range(20)]
    jobs = [(owner, runtime.jobs.submit(request, owner)) for owner, request in asked]
    for owner, job_id in jobs:
        view = finish(runtime, job_id, owner)
        assert view.state == "done"
        assert view.request["prompt"].startswith(owner)
        assert_right_pictures(runtime, view)
    owners = {job_id: owner for owner, job_id in jobs}
    served = [owners[job_id] for job_id in engine_of(runtime).seen]
    bens = served.index("ben")
    assert served[bens : bens + 10] == ["ben", "ann"] * 5


def test_the_next_job_of_another_owner_waits_for_one_job_alone(house: House) -> None:
    runtime = house.open(step_seconds=0.01)
    for _ in range(20):
        runtime.jobs.submit(txt2img(), "ann")
    assert runtime.jobs.view(runtime.jobs.submit(txt2img(), "ben"), "ben").position in (1, 2)


def test_a_preview_is_there_while_the_job_runs(house: House) -> None:
    runtime = house.open(step_seconds=0.02)
    job_id = runtime.jobs.submit(txt2img(steps=10), "local")
    with pytest.raises(NotFound, match="no preview"):
        runtime.jobs.preview(job_id, "local")
    seen = wait_until(runtime, job_id, preview=2).preview
    number, jpeg = runtime.jobs.preview(job_id, "local")
    assert number >= seen
    assert jpeg[:2] == b"\xff\xd8"
    assert finish(runtime, job_id).preview == 10


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("raise@2", "error", "a fault was asked for"),
        ("nan@2", "not_a_number", "at step 2"),
        ("exit@2", "engine_died", "exit code 7"),
        ("hang@2", "engine_died", "has not returned from Denoise"),
    ],
)
def test_a_fault_fails_its_job_with_the_reason_and_the_next_job_works(
    house: House, fault: str, code: str, said: str
) -> None:
    runtime = house.open(patience=0.1)
    ids = [runtime.jobs.submit(txt2img(f"a ball {fault}"), "local"), runtime.jobs.submit(txt2img(), "local")]
    failed, done = (finish(runtime, job_id) for job_id in ids)
    assert failed.state == "failed"
    assert failed.error is not None
    assert failed.error["code"] == code
    assert said in failed.error["message"]
    assert (done.state, len(done.images)) == ("done", 1)


def test_an_event_that_cannot_be_used_fails_its_job_and_the_next_job_works(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("webui.runtime.bookkeeper.texts_of", lambda *args: 1 / 0)
        view = finish(runtime, runtime.jobs.submit(txt2img(), "local"))
    assert view.state == "failed"
    assert finish(runtime, runtime.jobs.submit(txt2img(), "local")).state == "done"


def test_a_model_that_cannot_be_used_is_refused_at_once(house: House) -> None:
    broken = ModelInfo(name="broken", file="broken.safetensors", error="The file is truncated. Download it again.")
    house.models = FakeModels(TOYBOX, broken)
    runtime = house.open()
    with pytest.raises(ModelError, match=r"broken cannot be used: The file is truncated. Download it again."):
        runtime.jobs.submit(txt2img(model="broken"), "local")
    with pytest.raises(NotFound, match="no model 'other'"):
        runtime.jobs.submit(txt2img(model="other"), "local")
    assert runtime.jobs.list("local") == []


def test_a_model_that_vanishes_while_its_job_waits_fails_that_job(house: House) -> None:
    house.models = FakeModels(TOYBOX, TOYBOX.model_copy(update={"name": "second", "file": "second.safetensors"}))
    runtime = house.open(step_seconds=0.05)
    first = runtime.jobs.submit(txt2img(), "local")
    second = runtime.jobs.submit(txt2img(model="second"), "local")
    house.models.infos = (TOYBOX,)
    assert finish(runtime, first).state == "done"
    view = finish(runtime, second)
    assert view.error is not None
    assert (view.state, view.error["code"]) == ("failed", "not_found")


def handed_in(runtime: Runtime, size: tuple[int, int] = (40, 24)) -> Request:
    """An img2img request with a picture that was handed in."""
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    ref = runtime.inputs.add(file.getvalue())
    return parse_request({"kind": "img2img", "init_image": ref.model_dump(), "steps": 1})


def test_a_picture_handed_in_reaches_the_engine(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(handed_in(runtime), "local"))
    assert (view.state, view.images[0].width, view.images[0].height) == ("done", 40, 24)
    assert runtime.outputs.get(view.images[0].id, "local").parent.parent.name == "img2img-images"


def test_a_picture_that_vanishes_while_its_job_waits_fails_that_job(house: House) -> None:
    runtime = house.open(step_seconds=0.05)
    first = runtime.jobs.submit(txt2img(), "local")
    request = handed_in(runtime)
    second = runtime.jobs.submit(request, "local")
    runtime.inputs.path(request.image_refs[0]).unlink()
    assert finish(runtime, first).state == "done"
    view = finish(runtime, second)
    assert view.error is not None
    assert (view.state, view.error["code"]) == ("failed", "not_found")
    with pytest.raises(NotFound, match="Choose the picture again"):
        runtime.jobs.submit(request, "local")


def test_a_picture_too_small_to_draw_at_its_own_size_is_refused_with_the_way_out(runtime: Runtime) -> None:
    request = handed_in(runtime, (10, 200))
    with pytest.raises(BadRequest, match=r"only 10x200 pixels. Use one of at least 16 pixels a side, or set a width"):
        runtime.jobs.submit(request, "local")
    sized = request.model_copy(update={"width": 64, "height": 64})
    assert finish(runtime, runtime.jobs.submit(sized, "local")).images[0].width == 64
