"""Files of styles are changed row by row."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.stylefile import NEW, checked, with_style, without_style
from webui.prompt.styles import Style, decoded, read_styles
from webui.schema.errors import BadRequest

ODD = (
    b'\xef\xbb\xbfname,prompt,negative_prompt,note\r\n# Group,,\r\n\r\n"Ink"  ,"a ""b""",,mine\r\n'
    b"Caf\xe9,old letters,\r\nTwo,'x',\"line\r\nbreak\",n\r\nInk,last,neg,kept\r\n"
)
"""A file as no program writes it: quotes without need, blank lines, another code, a column of somebody."""


def test_only_the_row_of_the_style_is_written_anew() -> None:
    assert with_style(ODD, Style("Ink", "new", "")) == ODD.replace(b"Ink,last,neg,kept", b"Ink,new,,kept")
    assert with_style(ODD, Style("Fresh", "a, b", "c")) == ODD + b'Fresh,"a, b",c,\r\n'
    changed = with_style(ODD, Style("Two", "x\ny"))
    assert changed == ODD.replace(b"Two,'x',\"line\r\nbreak\",n", b'Two,"x\ny",,n')


def test_only_the_rows_of_the_style_are_taken_out() -> None:
    assert without_style(ODD, "Ink") == ODD.replace(b'"Ink"  ,"a ""b""",,mine\r\n', b"").replace(
        b"Ink,last,neg,kept\r\n", b""
    )
    assert without_style(b"name,prompt\na,1", "a") == b"name,prompt\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", NEW + b"a,1,2\r\n"),
        (b"name,prompt,negative_prompt\nx,y,z", b"name,prompt,negative_prompt\nx,y,z\na,1,2\n"),
        (b"name,text\nx,y\n", b"name,text,negative_prompt\nx,y\na,1,2\n"),
        (b"negative_prompt,name,prompt\n", b"negative_prompt,name,prompt\n2,a,1\n"),
    ],
)
def test_a_style_is_written_below_the_columns_that_are_there(before: bytes, after: bytes) -> None:
    assert with_style(before, Style("a", "1", "2")) == after


@pytest.mark.parametrize("data", [b"a,b\n1,2\n", b"\nname,prompt\na,1\n", b'name,prompt\na,"1\nb,2\n'])
def test_a_file_that_could_not_be_read_back_is_not_changed(data: bytes) -> None:
    with pytest.raises(BadRequest, match="file of styles"):
        with_style(data, Style("new", "1"))


@pytest.mark.parametrize(
    "name", ["", " ", "#a", "=1+1", "+a", "-a", "@a", "a\nb", "a\x00", "a\u2028b", "\ud800", "x" * 501]
)
def test_a_name_that_could_not_be_read_back_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        checked(Style(name, "a"))


@pytest.mark.parametrize("prompt", ["a\x00b", "\x1b[31m", "\ud800", "x" * 20_001])
def test_a_prompt_of_no_letters_is_refused(prompt: str) -> None:
    with pytest.raises(BadRequest):
        checked(Style("a", "", prompt))


def test_what_a_spreadsheet_would_compute_is_text_there_and_the_same_prompt() -> None:
    found = checked(Style(" a ", "=cmd|' /C calc'!A0", "@artist\r\n-x"))
    assert found == Style("a", " =cmd|' /C calc'!A0", " @artist\n-x")
    assert checked(found) == found


LETTERS = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' ,"\n\t'), max_size=20)
STYLES = st.builds(Style, LETTERS, LETTERS, LETTERS)


@given(st.lists(STYLES, max_size=5), STYLES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_style_is_written_and_read_back_beside_any_others(
    others: list[Style], style: Style, ending: str, marked: bool
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=ending)
    writer.writerow(("name", "prompt", "negative_prompt"))
    writer.writerows((other.name, other.prompt, other.negative_prompt) for other in others)
    data = ("\ufeff" * marked + file.getvalue()).encode()
    known = read_styles(decoded(data))
    try:
        style = checked(style)
    except BadRequest:
        return
    changed = with_style(data, style)
    assert read_styles(decoded(changed)) == {**known, style.name: style}
    gone = without_style(changed, style.name)
    assert read_styles(decoded(gone)) == {name: one for name, one in known.items() if name != style.name}
    if style.name not in known:
        assert gone == data
