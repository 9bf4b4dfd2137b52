"""What changes over the steps. Expected texts are what A1111 1.10's parser gives for 10 steps, step for step."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.brackets import DEEPEST, When
from webui.prompt.schedule import Alternate, Clock, Edit, parse_schedule, text_at, write_schedule

PIECES = [
    "[", "]", "(", ")", ":", "|", "a", "b ", ":3]", ":0.5]", ":1.2)", "[a:b:3]", "[c|d]", "\\", "\\[", " ", "2", "\n",
    "[a::.25]", "[:0.5]", "|]", "-1]", "1e3]", "AND", "[x:1.3]",
]  # fmt: skip


def texts(prompt, clock=None):
    nodes, _ = parse_schedule(prompt)
    clock = clock or Clock(10)
    return [text_at(nodes, step, clock) for step in range(clock.steps)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("test", ["test"] * 10),
        ("a [b:3]", ["a "] * 3 + ["a b"] * 7),
        ("a [b: 3]", ["a "] * 3 + ["a b"] * 7),
        ("a [b : c : 1 ] d", ["a b  d"] + ["a  c  d"] * 9),
        ("a [[[b]]:2]", ["a "] * 2 + ["a [[b]]"] * 8),
        ("[(a:2):3]", [""] * 3 + ["(a:2)"] * 7),
        ("[a::3]", ["a"] * 3 + [""] * 7),
        ("[:b:3]", [""] * 3 + ["b"] * 7),
        ("[a:b\n:3]", ["a"] * 3 + ["b\n"] * 7),
        ("a[b:[c:d:2]:1]e", ["abe", "ace"] + ["ade"] * 8),
        ("[[a:b:3]:c:6]", ["a"] * 3 + ["b"] * 3 + ["c"] * 4),
        ("[x:[y|z]:3]", ["x"] * 3 + ["z", "y"] * 3 + ["z"]),
        ("[a|[b:c:5]]", ["a", "b"] * 2 + ["a", "c"] * 3),
        ("[a:3][b:3]", [""] * 3 + ["ab"] * 7),
        ("a [b:.5] c", ["a  c"] * 5 + ["a b c"] * 5),
        ("[a:5.]", [""] * 10),
        ("[a:1e1]", [""] * 10),
        ("[a:+3]", [""] * 3 + ["a"] * 7),
        ("[a:-3]", ["a"] * 10),
        ("[a:b:0.39]", ["a"] * 3 + ["b"] * 7),
        ("[3:3]", [""] * 3 + ["3"] * 7),
        ("[a: 3:5]", ["a"] * 5 + [" 3"] * 5),
        (r"[a\:b:3]", [""] * 3 + [r"a\:b"] * 7),
        ("[(x:1.2):y: 3 ]", ["(x:1.2)"] * 3 + ["y"] * 7),
        ("[a:(b:c):3]", ["a"] * 3 + ["(b:c)"] * 7),
        ("[a|b]", ["a", "b"] * 5),
        ("[a|b|c]", ["a", "b", "c"] * 3 + ["a"]),
        ("[fe|]male", ["female", "male"] * 5),
        ("[|a]", ["", "a"] * 5),
        ("[a||b]", ["a", "", "b"] * 3 + ["a"]),
        ("[a|(b:1.1)]", ["a", "(b:1.1)"] * 5),
        ("((a][:b:c [d:3]", ["((a][:b:c "] * 3 + ["((a][:b:c d"] * 7),
        ("a [b] [c:d:x] [e:f:3]", ["a [b] [c:d:x] e"] * 3 + ["a [b] [c:d:x] f"] * 7),
        ("a [b:.5] c|d", ["a [b:.5] c|d"] * 10),
    ],
)
def test_a_prompt_changes_over_the_steps_as_in_a1111(prompt, expected):
    assert texts(prompt) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "", "a [unbalanced", "[]", "[ 3 ]", "[a:b:c]", "[a:b:c:3]", "[(a:b:1.2):c:3]", "(a [b:3) c]", "[a (b:3]",
        r"\[a:b:3\]", "[a:b:3", "[a:b: 3 4]", "[a|b:2]", "a|b", "(a|b)", "[(a|b):c:3]", "[a:1.2,b]", "[a:b:٣]",
    ],
)  # fmt: skip
def test_brackets_that_are_no_schedule_are_letters(prompt):
    assert set(texts(prompt)) == {prompt}


def test_a_hires_pass_counts_on_from_the_first():
    base, hires = Clock(10), Clock(4, before=10, part=1)
    assert texts("[a:b:0.5]", base) == ["a"] * 5 + ["b"] * 5
    assert texts("[a:b:0.5]", hires) == ["b"] * 4
    assert texts("[a:b:1.5]", base) == ["a"] * 10
    assert texts("[a:b:1.5]", hires) == ["a"] * 2 + ["b"] * 2
    assert texts("[a:b:7]", hires) == ["b"] * 4
    assert texts("[a:b:12]", base) == ["a"] * 10
    assert texts("[a:b:12]", hires) == ["a"] * 2 + ["b"] * 2
    assert texts("[a|b]", hires) == ["a", "b"] * 2


def test_a_schedule_is_a_value():
    nodes, notes = parse_schedule("x [a:b:3] [c|[d:0.5]|]")
    third = Edit((), ("d",), When(0.5, True))
    assert nodes == ("x ", Edit(("a",), ("b",), When(3, False)), " ", Alternate((("c",), (third,), ())))
    assert notes == ()
    assert hash(nodes) == hash(parse_schedule("x [a:b:3] [c|[d:.5]|]")[0])


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("[cat:dog:half]", "[cat:dog:half] is read as text: no number"),
        ("[note: " + "x" * 100 + "]", "…"),
        ("a | [b:c:0.5]", '"|" stands outside'),
        ("[a|b:2]", '"|" stands outside'),
        ("(a|b)", '"|" stands outside'),
        ("[" * 40 + "a" + ":3]" * 40, "nested more than 32"),
    ],
)
def test_what_may_not_be_meant_is_noted(prompt, words):
    (note,) = parse_schedule(prompt)[1]
    assert words in note
    assert len(note) < 200


@pytest.mark.parametrize("prompt", ["a | b", "[a] (b:1.2)", "a: b", "[a:b:c:3]", "[a:3] [b|c]", "x] ) ["])
def test_what_is_clear_is_not_noted(prompt):
    assert parse_schedule(prompt)[1] == ()


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text())
def test_a_schedule_that_is_written_is_read_as_the_same(prompt):
    nodes, _ = parse_schedule(prompt)
    written = write_schedule(nodes)
    assert parse_schedule(written)[0] == nodes
    assert write_schedule(parse_schedule(written)[0]) == written
    assert not any(isinstance(left, str) and isinstance(right, str) for left, right in pairwise(nodes))


class Plain:
    """A second writing: recursive descent, which tries each bracket as a group from where it stands."""

    def __init__(self, text):
        self.text = text

    def group(self, at):
        """(end, text at each of 10 steps) of a balanced bracket at a place, or None."""
        closing = {"[": "]", "(": ")"}.get(self.text[at : at + 1])
        if closing is None:
            return None
        parts, marks, raw, at, start = [[""] * 10], [], [""], at + 1, at
        while at < len(self.text):
            letter = self.text[at]
            if letter == closing:
                found = self.meaning(closing, parts, marks, raw)
                return None if found is None else (at + 1, found)
            if letter in ":|":
                parts, marks, raw = [*parts, [""] * 10], [*marks, letter], [*raw, ""]
                at += 1
                continue
            if letter in "])":
                return None
            inner = self.group(at) if letter in "[(" else None
            if letter in "[(" and inner is None:
                return None
            size = 2 if letter == "\\" else 1
            end, shown = inner or (at + size, [self.text[at : at + size]] * 10)
            raw[-1] += self.text[at:end]
            parts[-1] = [old + new for old, new in zip(parts[-1], shown, strict=True)]
            at = end
        assert start < at
        return None

    def meaning(self, closing, parts, marks, raw):
        around = "()" if closing == ")" else "[]"
        if set(marks) == {"|"} and closing == "]":
            return [parts[step % len(parts)][step] for step in range(10)]
        if closing == "]" and marks in ([":"], [":", ":"]):
            try:
                value = float(raw[-1])
            except ValueError:
                return None
            last = int(value * 10 if "." in raw[-1] else value)
            before = parts[0] if len(parts) == 3 else [""] * 10
            return [before[step] if step < last else parts[-2][step] for step in range(10)]
        if marks in ([], [":"]) and (closing == ")" or not marks):
            joined = [":".join(column) for column in zip(*parts, strict=True)]
            return [around[0] + text + around[1] for text in joined]
        return None

    def all(self):
        at, shown = 0, [""] * 10
        while at < len(self.text):
            if self.text[at] == "|":
                return [self.text] * 10
            found = self.group(at)
            size = 2 if self.text[at] == "\\" else 1
            end, new = found or (at + size, [self.text[at : at + size]] * 10)
            shown = [old + piece for old, piece in zip(shown, new, strict=True)]
            at = end
        return shown


@given(st.lists(st.sampled_from([piece for piece in PIECES if "e" not in piece]), max_size=25).map("".join))
def test_any_text_changes_as_a_plain_writing_says(prompt):
    assert texts(prompt) == Plain(prompt).all()


def test_groups_as_deep_as_allowed_are_read():
    deep = "[" * DEEPEST + "a" + ":3]" * DEEPEST
    assert texts(deep) == [""] * 3 + ["a"] * 7


@pytest.mark.parametrize(
    "piece",
    ["[", "]", "(", ")", "|", ":", "\\", "[a", "[a:b:3]", "[a|b]", "[a:", "[a|", "a|", "([)]", "[:", ":3]", "[[]", "1"],
)
def test_long_prompts_of_any_kind_are_read(piece):
    """Not timed; a step that is quadratic would take minutes here."""
    long = piece * (50_000 // len(piece))
    for prompt in (long, f"[{long}", f"[{long}|b]", f"{long}:3]", f"[x:{long}:3]"):
        nodes, _ = parse_schedule(prompt)
        text_at(nodes, 3, Clock(10))
        write_schedule(nodes)


def test_long_prompts_of_mixed_brackets_are_read():
    rng = random.Random(0)
    prompt = "".join(rng.choices(PIECES, k=10_000))
    nodes, _ = parse_schedule(prompt)
    assert parse_schedule(write_schedule(nodes))[0] == nodes
