"""What the hooks around a job are given: the pictures of its request."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from webui.ext.contexts import JobContext, JobData
from webui.schema.errors import BadRequest
from webui.schema.requests import Txt2Img


def context(request: Txt2Img | None = None) -> JobContext:
    return JobContext("own", JobData("job", request or Txt2Img(), {}, lambda _text: None, lambda: False), {}, {})


def test_a_picture_that_was_handed_in_is_opened_by_its_name() -> None:
    job = context()
    ref = job.add_image(Image.new("RGBA", (16, 8), (1, 2, 3, 4)))
    for name in (ref, ref.model_dump()):
        assert (np.asarray(job.image(name)) == (1, 2, 3, 4)).all()


def test_what_is_drawn_into_an_opened_picture_stays_with_the_one_who_drew() -> None:
    job = context()
    ref = job.add_image(Image.new("RGB", (16, 8)))
    job.image(ref).putpixel((0, 0), (9, 9, 9))
    assert not np.asarray(job.image(ref)).any()


def test_a_picture_that_is_gone_and_a_value_that_names_none_are_refused() -> None:
    job = context()
    with pytest.raises(BadRequest, match="no longer there"):
        job.image({"sha256": "0" * 64})
    with pytest.raises(BadRequest, match=r"'ball.png' names no picture"):
        job.image("ball.png")  # type: ignore[arg-type]


def test_nobody_sees_or_changes_values_of_absent_extensions_and_they_outlive_a_changed_request() -> None:
    kept = {"away": {"colour": "red"}}
    job = context(Txt2Img(prompt="a ball", absent_ext=kept))
    assert job.request == Txt2Img(prompt="a ball")
    job.update(prompt="a cube")
    assert job.request == Txt2Img(prompt="a cube")
    assert job._data.request.absent_ext == kept
    with pytest.raises(BadRequest, match="cannot change absent_ext"):
        job.update(absent_ext={})
