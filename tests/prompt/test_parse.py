"""The attention grammar. Expected values are what A1111 1.10 gives, but for BREAK inside brackets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.parse import LARGEST, SQUARE, Weighted, parse_attention, parse_emphasis, parse_prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a cat", [("a cat", 1.0)]),
        ("a (b) c", [("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
        ("((b))", [("b", 1.1 * 1.1)]),
        ("[b]", [("b", 1 / 1.1)]),
        ("[[b]]", [("b", 1 / 1.1 / 1.1)]),
        ("(b:1.3)", [("b", 1.3)]),
        ("(b: 1.3 )", [("b", 1.3)]),
        ("(b:+.5)", [("b", 0.5)]),
        ("(b:2.)", [("b", 2.0)]),
        ("(a:-1)", [("a", -1.0)]),
        ("(a:0)", [("a", 0.0)]),
        ("((b:1.5))", [("b", 1.1 * 1.5)]),
        ("(a (b:2) c:3)", [("a ", 3.0), ("b", 6.0), (" c", 3.0)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        ("(a:1.2,b)", [("a:1.2,b", 1.1)]),
        ("(a:1e2)", [("a:1e2", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("[a:1.2]", [("a:1.2", 1 / 1.1)]),
        ("a:1.2)", [("a:1.2)", 1.0)]),
        ("a) b]", [("a) b]", 1.0)]),
        ("(a", [("a", 1.1)]),
        ("a ((b", [("a ", 1.0), ("b", 1.1 * 1.1)]),
        ("[a", [("a", 1 / 1.1)]),
        ("([a) b]", [("a", 1.1 * SQUARE), (" b", SQUARE)]),
        (r"\(a\) \[b\] \\", [("(a) [b] \\", 1.0)]),
        (r"(a\:1.2)", [("a", 1.2)]),
        (r"a\b", [("ab", 1.0)]),
        ("a\\", [("a", 1.0)]),
        (r"(a \(b\):1.2)", [("a (b)", 1.2)]),
        ("()", []),
        ("(:1.2)", []),
        ("a()b", [("ab", 1.0)]),
        ("a (b:1.0) c", [("a b c", 1.0)]),
        ("(((a:1.3) b:1.2) c:1.1)", [("a", 1.1 * 1.2 * 1.3), (" b", 1.1 * 1.2), (" c", 1.1)]),
    ],
)
def test_attention_is_read_as_users_know_it(text, expected):
    found = parse_attention(text)
    assert [part.text for part in found] == [part for part, _ in expected]
    assert [part.weight for part in found] == pytest.approx([weight for _, weight in expected], rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", ["a", "b"]),
        ("a\nBREAK\n\nb", ["a", "b"]),
        ("BREAK a", ["", "a"]),
        ("a BREAK", ["a", ""]),
        ("a BREAK BREAK b", ["a", "", "b"]),
        ("BREAKFAST and aBREAK", ["BREAKFAST and aBREAK"]),
        ("a break b", ["a break b"]),
    ],
)
def test_break_begins_a_new_section(text, expected):
    assert ["".join(part.text for part in section) for section in parse_prompt(text)] == expected


def test_break_inside_brackets_keeps_their_weight():
    assert parse_prompt("x (a BREAK b:1.5) y") == (
        (Weighted("x ", 1.0), Weighted("a", 1.5)),
        (Weighted("b", 1.5), Weighted(" y", 1.0)),
    )


def test_the_emphasis_modes_read_brackets_as_a1111_does():
    text = r"a (b:1.5) [c] \( BREAK d"
    assert parse_emphasis(text, "Original") == parse_emphasis(text, "No norm") == parse_prompt(text)
    assert parse_emphasis(text, "Ignore") == ((Weighted("a b c (", 1.0),), (Weighted("d", 1.0),))
    assert parse_emphasis(text, "None") == ((Weighted(text, 1.0),),)
    assert parse_emphasis("", "None") == ((),)


def test_many_brackets_are_bounded():
    assert parse_attention("(" * 20_000 + "a") == [("a", LARGEST)]
    assert parse_attention("[" * 20_000 + "a")[0].weight == pytest.approx(0)
    assert parse_attention("(" * 50 + "a:9)" + ":-9)" * 49) == [("a", -LARGEST)]


A1111 = re.compile(r"\\\(|\\\)|\\\[|\\]|\\\\|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|]|[^\\()\[\]:]+|:")


def quadratic(text):
    """A second writing, with a pass over all earlier parts for every bracket that closes."""
    parts, opened = [], {"(": [], "[": []}

    def multiply(start, factor):
        for part in parts[start:]:
            part[1] *= factor

    for match in A1111.finditer(text):
        token, weight = match[0], match[1]
        if token.startswith("\\"):
            parts.append([token[1:], 1.0])
        elif token in opened:
            opened[token].append(len(parts))
        elif weight is not None and opened["("]:
            multiply(opened["("].pop(), float(weight))
        elif token == ")" and opened["("]:
            multiply(opened["("].pop(), 1.1)
        elif token == "]" and opened["["]:
            multiply(opened["["].pop(), 1 / 1.1)
        else:
            parts.append([token, 1.0])
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[kind]:
            multiply(start, factor)
    return [(letter, weight) for part, weight in parts for letter in part]


@given(st.lists(st.sampled_from(["(", ")", "[", "]", "\\", ":", ":1.2)", ":-0.5)", "a", " b", ":2", ","]), max_size=40))
def test_any_nesting_gives_every_letter_the_weight_of_a_plain_writing(pieces):
    text = "".join(pieces)
    found = [(letter, part.weight) for part in parse_attention(text) for letter in part.text]
    expected = quadratic(text)
    assert [letter for letter, _ in found] == [letter for letter, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected], rel=1e-9)


@pytest.mark.parametrize("piece", ["(", "[", ")", "(a", "(a:1.2)", ":", ":1", "\\", " ", "BREAK ", "([)]", "1"])
def test_long_prompts_of_any_kind_are_parsed(piece):
    """Not timed; a step that is quadratic would take minutes here."""
    parse_prompt(piece * (100_000 // len(piece)))
