"""Styles, as A1111 keeps and applies them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.styles import Style, laid_over, read_names, read_styles, with_styles, write_names
from webui.schema.errors import BadRequest

FILE = """\ufeffname,prompt,negative_prompt
Ink,"ink, {prompt}, on paper",photo
# Group,,
Fine,"fine, detailed",
,no name,
"Two
lines","a
b","c, ""d"" e",too,many
"""


@pytest.mark.parametrize(
    ("prompt", "style", "result"),
    [
        ("cat", "fine", "cat, fine"),
        (" cat ", " fine ", "cat, fine"),
        ("", "fine", "fine"),
        ("cat", "", "cat"),
        ("cat", "a {prompt} and {prompt}", "a cat and cat"),
        ("", "a {prompt}", "a "),
    ],
)
def test_a_style_is_laid_over_a_prompt(prompt, style, result):
    assert laid_over(prompt, style) == result


def test_styles_are_applied_in_their_order():
    styles = read_styles(FILE)
    assert with_styles("cat", "", [styles["Ink"], styles["Fine"]]) == ("ink, cat, on paper, fine, detailed", "photo")
    assert with_styles(" cat ", "", []) == (" cat ", "")


def test_a_file_of_a1111_is_read():
    assert read_styles(FILE) == {
        "Ink": Style("Ink", "ink, {prompt}, on paper", "photo"),
        "Fine": Style("Fine", "fine, detailed"),
        "Two\nlines": Style("Two\nlines", "a\nb", 'c, "d" e'),
    }
    assert read_styles("name,text\nOld,words") == {"Old": Style("Old", "words")}
    assert read_styles("name,prompt\na,1\na,2") == {"a": Style("a", "2")}
    assert read_styles("") == {}


def test_what_is_no_csv_is_refused():
    with pytest.raises(BadRequest, match="cannot be read"):
        read_styles("name,prompt\na," + "x" * 200_000)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(BadRequest):
        read_styles(f"name,prompt\n{text}")


@given(st.lists(st.text(min_size=1).map(str.strip).filter(bool)))
def test_names_in_a_pictures_text_are_read_as_they_were_written(names: list[str]):
    assert read_names(write_names(names)) == tuple(names)


@given(st.text())
def test_any_text_is_read_as_names(text: str):
    assert all(read_names(text))


def test_plain_names_are_written_as_a_plain_list():
    assert write_names(["Ink", "Fine art"]) == "Ink, Fine art"
    assert write_names(['a, "b"', "c"]) == '"a, ""b""", c'
