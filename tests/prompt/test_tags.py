"""Tags of networks, as A1111 reads them: `<kind:name:args>`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.tags import ExtraNetwork, split_tags


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("<lora:ink>", ExtraNetwork("lora", "ink")),
        ("<lora:ink:0.8>", ExtraNetwork("lora", "ink", ("0.8",))),
        ("<lora:ink:0.5:1:8>", ExtraNetwork("lora", "ink", ("0.5", "1", "8"))),
        ("<lora:ink:te=0.5:unet=1>", ExtraNetwork("lora", "ink", (), (("te", "0.5"), ("unet", "1")))),
        ("<lora:ink:0.5:dyn=8>", ExtraNetwork("lora", "ink", ("0.5",), (("dyn", "8"),))),
        ("<lora: my ink (v2) : -1 >", ExtraNetwork("lora", "my ink (v2)", ("-1",))),
        ("<LoRA:Ink:1>", ExtraNetwork("lora", "Ink", ("1",))),
        ("<lora:folder/ink:0:0.5@0.2,1@0.8>", ExtraNetwork("lora", "folder/ink", ("0", "0.5@0.2,1@0.8"))),
        ("<lora:墨:1>", ExtraNetwork("lora", "墨", ("1",))),
        ("<lora:a=b:1>", ExtraNetwork("lora", "a=b", ("1",))),
        ("<lora:ink::1>", ExtraNetwork("lora", "ink", ("", "1"))),
        ("<hypernet:glow:0.5>", ExtraNetwork("hypernet", "glow", ("0.5",))),
        ("<3:x>", ExtraNetwork("3", "x")),
    ],
)
def test_a_tag_is_read_and_taken_out(text, tag):
    assert split_tags(text) == ("", (tag,))
    assert split_tags(f"a {text}, b") == ("a , b", (tag,))


def test_tags_keep_their_order():
    text, tags = split_tags("<lora:a:1>x<hypernet:b><lora:a:2>")
    assert text == "x"
    assert [str(tag) for tag in tags] == ["<lora:a:1>", "<hypernet:b>", "<lora:a:2>"]


@pytest.mark.parametrize("text", ["", "<3", "a < b > c", "<lora>", "<lora:>", "<:x>", "<lora:x", "< lora:x>", "x>"])
def test_what_is_no_tag_is_text(text):
    assert split_tags(text) == (text, ())


def test_the_last_of_two_values_with_one_key_counts():
    assert split_tags("<lora:x:te=1:te=2>")[1][0].named == {"te": "2"}


@given(st.lists(st.sampled_from(["<", ">", ":", "=", "lora", "x", " ", "1", "<lora:", "\n"]), max_size=30).map("".join))
def test_a_tag_that_is_written_again_is_read_as_the_same(text):
    rest, tags = split_tags(text)
    assert split_tags(rest) == (rest, ())
    for tag in tags:
        assert split_tags(str(tag)) == ("", (tag,)) or not tag.name


@pytest.mark.parametrize("piece", ["<", ">", "<a:", "<a:b", "<a:>", "<a", ":", "<a:b>", "a"])
def test_long_texts_are_split(piece):
    """Not timed; a step that is quadratic would take minutes here."""
    split_tags(piece * (100_000 // len(piece)))
    split_tags(piece * (100_000 // len(piece)) + ">")
