"""Declared parameters: what is given is checked by name, what is not given has its default."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from webui.ext.params import Param, values_of
from webui.schema.errors import BadRequest

LOW = Param(id="low", type="int", min=1, max=255, default=100)
HARDNESS = Param(id="hardness", type="float", min=0, max=1, default=0.5)
CLEAN = Param(id="clean", type="bool")
NAME = Param(id="name", type="text")
HAND = Param(id="hand", type="choice", choices=("left", "right"))
PLACE = Param(id="place", type="image", colours=("red", "#00ff00"))
ALL = (LOW, HARDNESS, CLEAN, NAME, HAND, PLACE)


def test_what_is_not_given_has_its_default():
    assert values_of(ALL, {}) == {"low": 100, "hardness": 0.5, "clean": False, "name": "", "hand": "left",
                                   "place": None}  # fmt: skip


def test_a_number_without_default_starts_at_its_minimum():
    assert Param(id="size", type="int", min=8).default == 8
    assert Param(id="size", type="int").default == 0


def test_a_parameter_without_label_is_named_after_its_id():
    assert Param(id="low_threshold", type="int").label == "Low threshold"


def test_whole_numbers_may_come_as_floats_and_are_given_as_ints():
    value = values_of([LOW], {"low": 30.0})["low"]
    assert (value, type(value)) == (30, int)


def test_a_float_given_as_int_is_given_as_float():
    assert type(values_of([HARDNESS], {"hardness": 1})["hardness"]) is float


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("low", 0, 'The parameter "low" is 0 but must be at least 1.'),
        ("low", 300, 'The parameter "low" is 300 but must be at most 255.'),
        ("low", 1.5, 'The parameter "low" is 1.5 but must be a whole number.'),
        ("low", True, 'The parameter "low" is True but must be a number.'),
        ("low", "3", "The parameter \"low\" is '3' but must be a number."),
        ("low", None, 'The parameter "low" is None but must be a number.'),
        ("hardness", float("nan"), 'The parameter "hardness" is nan but must be a number.'),
        ("clean", 1, 'The parameter "clean" is 1 but must be true or false.'),
        ("name", 1, 'The parameter "name" is 1 but must be a text of at most 10000 characters.'),
        ("hand", "both", "The parameter \"hand\" is 'both' but must be one of: left, right."),
        ("place", "ball.png", "The parameter \"place\" is 'ball.png' but must name a picture by its sha256."),
        (
            "place",
            {"sha256": "0" * 63},
            "The parameter \"place\" is {'sha256': '00000000 but must name a picture by its sha256.",
        ),
        ("hand", ["left"], "The parameter \"hand\" is ['left'] but must be one of: left, right."),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any, message: str):
    with pytest.raises(BadRequest) as caught:
        values_of(ALL, {name: value})
    assert caught.value.message == message


def test_an_unknown_parameter_is_refused_with_what_was_perhaps_meant():
    with pytest.raises(BadRequest) as caught:
        values_of(ALL, {"hardnes": 1})
    assert str(caught.value) == (
        'There is no parameter "hardnes" (did you mean "hardness"?). '
        "Known are: low, hardness, clean, name, hand, place."
    )


@pytest.mark.parametrize(("declared", "longest"), [(None, 10_000), (200_000, 200_000)])
def test_a_text_is_as_long_as_was_declared_at_most(declared: int | None, longest: int):
    param = Param(id="pose", type="text", max_length=declared)
    assert param.fault("x" * longest) == ""
    assert param.fault("x" * (longest + 1)).endswith(f"must be a text of at most {longest} characters")


def test_where_nothing_is_declared_nothing_can_be_given():
    with pytest.raises(BadRequest, match=r'There is no parameter "low"\. None is declared\.'):
        values_of([], {"low": 1})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": "a", "type": "int", "min": 5, "default": 1}, "its default is 1 but must be at least 5"),
        ({"id": "a", "type": "int", "min": 5, "max": 1}, '"min" 5 is above "max" 1'),
        ({"id": "a", "type": "choice"}, '"choices" belong to the type "choice"'),
        ({"id": "a", "type": "int", "choices": ["x"]}, '"choices" belong to the type "choice"'),
        ({"id": "a", "type": "bool", "max": 1}, 'belong to numbers, not to the type "bool"'),
        ({"id": "a", "type": "text", "default": 3}, "its default is 3 but must be a text"),
        (
            {"id": "a", "type": "int", "max_length": 9},
            '"max_length" and "lines" belong to texts, not to the type "int"',
        ),
        ({"id": "a", "type": "int", "lines": 3}, '"max_length" and "lines" belong to texts, not to the type "int"'),
        ({"id": "a", "type": "text", "colours": ["red"]}, '"colours" belong to pictures, not to the type "text"'),
        ({"id": "a", "type": "image", "colours": ["Red!"]}, "pattern"),
        ({"id": "a", "type": "image", "default": "a.png"}, "a picture has no default"),
        ({"id": "a", "type": "text", "max_length": 10**7}, "max_length"),
        ({"id": "Upper", "type": "int"}, "pattern"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(given: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        Param(**given)


@pytest.mark.parametrize(
    ("param", "text", "value"),
    [
        (LOW, "12", 12), (LOW, "twelve", "twelve"), (HARDNESS, "0.25", 0.25), (CLEAN, "true", True),
        (CLEAN, "No", False),         (CLEAN, "perhaps", "perhaps"), (NAME, "12", "12"), (HAND, "left", "left"),
    ],
)  # fmt: skip
def test_a_command_line_gives_texts(param: Param, text: str, value: Any):
    assert param.parse(text) == value
