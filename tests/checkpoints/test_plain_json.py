"""JSON of other programs comes as values that every answer can hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.checkpoints.plain_json import LARGEST, object_in, parsed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN, "b": [Infinity, -Infinity, 1e999, 1.5]}', {"a": None, "b": [None, None, None, 1.5]}),
        (f"[{2**63}, {-(10**400)}, {2**63 - 1}, true]", [None, None, 2**63 - 1, True]),
        (r'{"a\ud800": "x\udc00y", "whole": "\ud83c\udf0a"}', {"a�": "x�y", "whole": "🌊"}),
    ],
)
def test_what_cannot_be_sent_on_is_left_out(text: str, value: object) -> None:
    assert parsed(text) == value
    json.dumps(parsed(text), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, " " * LARGEST + "{}", '{"a": ' + "1" * 5000 + "}"])
def test_a_file_without_an_object_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert object_in(tmp_path / "a.json") == object_in(tmp_path / "none.json") == {}
