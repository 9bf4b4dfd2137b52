"""Whole prompts: comments, tags, AND, and what may not be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prompt.test_schedule import PIECES
from webui.prompt.grammar import Part, Prompt, read_prompt
from webui.prompt.parse import LARGEST
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork

WHOLE = [
    *PIECES,
    "#",
    "\\#",
    "<",
    ">",
    "<lora:a:0.5>",
    "<a:",
    " AND ",
    "AND:2",
    ":0.7",
    ":-1.5",
    "12:30",
    "BREAK",
    "AN",
    "D",
]


def plain(*parts):
    return tuple(Part((text,) if text else (), weight) for text, weight in parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [("", 1)]),
        (" a cat ", [(" a cat ", 1)]),
        ("a AND b", [("a", 1), ("b", 1)]),
        ("a :1.2  AND b: -.5 AND c:+3.", [("a", 1.2), ("b", -0.5), ("c", 3)]),
        ("a:2:3 AND b:c", [("a:2", 3), ("b:c", 1)]),
        ("a AND (b:1.3)", [("a", 1), ("(b:1.3)", 1)]),
        ("a AND", [("a", 1), ("", 1)]),
        ("AND", [("", 1), ("", 1)]),
        ("SAND and ANDY", [("SAND and ANDY", 1)]),
        ("noon, 12:30", [("noon, 12:30", 1)]),
        ("a:1e3 AND b", [("a:1e3", 1), ("b", 1)]),
        (f"a:{'9' * 400} AND b:-{'9' * 400}", [("a", LARGEST), ("b", -LARGEST)]),
    ],
)
def test_and_parts_a_prompt_and_weighs_its_parts(text, parts):
    assert read_prompt(text).parts == plain(*parts)


def test_each_part_of_and_has_its_own_schedule():
    prompt = read_prompt("a [b:c:1] AND [d|e]:0.5")
    assert [prompt.at(step, Clock(2)) for step in (0, 1)] == [
        (("a b", 1.0), ("d", 0.5)),
        (("a c", 1.0), ("e", 0.5)),
    ]
    assert prompt.changes
    assert not read_prompt("(a:1.2) AND [b]").changes


def test_and_and_tags_are_words_in_the_negative_prompt():
    prompt = read_prompt("a AND b:2 <lora:x>", negative=True)
    assert prompt.parts == plain(("a AND b:2 <lora:x>", 1))
    assert prompt.tags == ()
    assert [note.split()[0] for note in prompt.notes] == ["AND", "Networks"]
    assert read_prompt("[a:b:1]", negative=True).at(1, Clock(2)) == (("b", 1.0),)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("# all of it", ""),
        ("a # b\nc", "a \nc"),
        ("a\n#b\n  # d\nc", "a\n\n  \nc"),
        (r"\#1 cat", r"\#1 cat"),
        (r"\\# cat", r"\\"),
        ("[a#:3]\n:b:1]", "[a\n:b:1]"),
        ("# <lora:x> AND", ""),
    ],
)
def test_comments_run_to_the_end_of_their_line(text, left):
    assert read_prompt(text) == read_prompt(left)


def test_tags_are_taken_out_before_anything_else_is_read():
    prompt = read_prompt("a <lora:x:1> AND [b<lora:y>:1]")
    assert prompt.tags == (ExtraNetwork("lora", "x", ("1",)), ExtraNetwork("lora", "y"))
    assert prompt.at(1, Clock(2)) == (("a", 1.0), ("b", 1.0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a clock at 12:30", "ends in :30; without AND"),
        ("a clock at 12:30 AND b", "is its weight, here 30"),
        ("[a AND b:c:0.5]", "AND stands inside brackets"),
        ("[a<lora:x:1>:0.5]", "acts at every step"),
        ("cat#5", "comment"),
        ("[cat:dog:half]", "no number"),
        ("a|b [c:0.5]", "stands outside"),
    ],
)
def test_traps_are_noted(text, words):
    assert any(words in note for note in read_prompt(text).notes)


@pytest.mark.parametrize(
    "text", ["a cat", "a # b", "a AND b:0.7", "(a:1.3) [b] [c:0.5] [d|e]", "<lora:x:1> a", "a: b", "1girl, solo", "a\\"]
)
def test_what_is_clear_is_not_noted(text):
    assert read_prompt(text).notes == ()


@pytest.mark.parametrize(
    ("text", "steps", "hires", "words"),
    [
        ("[blurry:1.3]", 20, 0, "130 % of the steps, so never in this picture; for attention write (blurry:1.3)."),
        ("[a:b:1.0]", 20, 0, "after 100 % of the steps"),
        ("[a:b:20]", 20, 0, "after step 20"),
        ("[a:b:2.0]", 20, 10, "after 200 % of the steps"),
        ("[a|[b:30]]", 20, 10, "after step 30"),
    ],
)  # fmt: skip
def test_a_change_that_never_comes_is_noted(text, steps, hires, words):
    (note,) = read_prompt(text).unreached(steps, hires)
    assert words in note


@pytest.mark.parametrize(
    ("text", "steps", "hires"), [("[a:b:0.99]", 20, 0), ("[a:b:19]", 20, 0), ("[a:1.3]", 20, 10), ("[a:29]", 20, 10)]
)
def test_a_change_that_comes_is_not_noted(text, steps, hires):
    assert read_prompt(text).unreached(steps, hires) == ()


@given(st.lists(st.sampled_from(WHOLE), max_size=40).map("".join) | st.text(), st.booleans())
def test_any_text_is_read_and_what_is_written_is_read_as_the_same(text, negative):
    prompt = read_prompt(text, negative)
    written = str(prompt)
    assert read_prompt(written, negative) == prompt
    assert str(read_prompt(written, negative)) == written
    prompt.unreached(20, 10)
    for clock in (Clock(3), Clock(4, before=3, part=1)):
        for step in range(clock.steps):
            assert read_prompt(written, negative).at(step, clock) == prompt.at(step, clock)


def test_a_prompt_is_a_value():
    assert read_prompt("a [b:1] <lora:x>#") == read_prompt("<lora:x>a [b: 1 ] ")
    assert hash(read_prompt("a [b:1] AND c")) == hash(read_prompt("a [b: 1] AND c "))
    assert read_prompt("") == Prompt((Part(()),))


@pytest.mark.parametrize("piece", ["#", "a AND ", "<a:b>", "a:", ": ", "[a AND ", "\\", "12:30", " ", "[<a:b>", "#\n"])
def test_long_prompts_of_any_kind_are_read(piece):
    """Not timed; a step that is quadratic would take minutes here."""
    for negative in (False, True):
        str(read_prompt(piece * (50_000 // len(piece)), negative))
