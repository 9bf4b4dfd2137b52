"""What a request leaves open is fixed at submission."""

from __future__ import annotations

import pytest

from webui.schema.errors import BadRequest
from webui.schema.requests import Txt2Img
from webui.schema.resolve import resolve


def test_a_hires_pass_that_is_too_large_is_refused_though_a_side_is_left_open() -> None:
    wide = Txt2Img(width=8192, enable_hr=True, hr_scale=4)
    with pytest.raises(BadRequest, match="32768x2048"):
        resolve(wide, model="tiny", native_size=512)
    assert resolve(wide.model_copy(update={"enable_hr": False}), model="tiny", native_size=512).width == 8192
