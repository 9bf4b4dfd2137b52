"""A control unit as clients may write it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from webui.schema.control import BALANCED, CONTROL, ControlUnit


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({"guess_mode": True}, CONTROL),
        ({"guess_mode": True, "mode": CONTROL}, CONTROL),
        ({"guess_mode": False}, BALANCED),
        ({"guess_mode": False, "mode": CONTROL}, CONTROL),
    ],
)
def test_guess_mode_is_another_name_of_the_mode_in_which_control_counts_more(given: dict[str, object], mode: str):
    unit = ControlUnit.model_validate(given)
    assert unit == ControlUnit(mode=mode)
    assert "guess_mode" not in unit.model_dump()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"guess_mode": "yes"}, "guess_mode is true or false"),
        ({"guess_mode": True, "mode": BALANCED}, "and 'Balanced' is asked for"),
    ],
)
def test_a_guess_mode_that_says_nothing_or_the_contrary_is_refused(given: dict[str, object], words: str):
    with pytest.raises(ValidationError, match=words):
        ControlUnit.model_validate(given)
