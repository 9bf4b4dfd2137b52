"""Words of prompts that stand for vectors, among the tokens of the other words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.tokenize import Chunk, Tokenizer

CLIP = Tokenizer.clip()
INDEX = CLIP.index({"Bad-Hands": 3, "bad": 2, "easynegative": 75, "long": 40})
FREE = CLIP.start_id
CAT = 2368


def placed(text: str, **options: str) -> list[tuple[tuple[int, str], ...]]:
    return [chunk.words for chunk in CLIP.chunks(text, words=INDEX, **options)]  # type: ignore[arg-type]


def body(chunk: Chunk) -> tuple[int, ...]:
    return chunk.ids[1 : chunk.ids.index(CLIP.end_id)]


def test_a_word_takes_as_many_tokens_as_it_has_vectors() -> None:
    (chunk,) = CLIP.chunks("cat bad-hands cat", words=INDEX)
    assert chunk.ids[:7] == (CLIP.start_id, CAT, FREE, FREE, FREE, CAT, CLIP.end_id)
    assert len(chunk.ids) == len(chunk.weights) == 77
    assert chunk.words == ((2, "Bad-Hands"),)
    assert CLIP.lengths("cat bad-hands cat", words=INDEX) == (5,)
    assert CLIP.lengths("cat bad-hands cat") == (5,)  # bad, -, hands


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BAD-HANDS", ("Bad-Hands",)),
        ("bad - hands", ("Bad-Hands",)),  # its tokens count, not its letters
        ("bad hands", ("bad",)),
        ("badly", ()),
        ("easy negative", ()),
        ("(bad:1.2), EasyNegative BREAK bad", ("bad", "easynegative")),
        ("(bad)-hands", ("bad",)),  # a word does not reach into another weight
        ("cat", ()),
    ],
)
def test_the_longest_word_whose_tokens_follow_each_other_is_meant(text: str, words: tuple[str, ...]) -> None:
    assert CLIP.words(text, "Original", INDEX) == words


def test_attention_weighs_every_vector() -> None:
    (chunk,) = CLIP.chunks("cat (bad-hands:1.3) cat", words=INDEX)
    assert chunk.weights[:7] == (1.0, 1.0, 1.3, 1.3, 1.3, 1.0, 1.0)


def test_a_word_that_has_no_room_begins_the_next_chunk() -> None:
    first, second = CLIP.chunks("cat " * 40 + "long cat", words=INDEX)
    assert body(first) == (CAT,) * 40
    assert second.words == ((1, "long"),)
    assert body(second) == (*(FREE,) * 40, CAT)
    assert placed("cat " * 35 + "long") == [((36, "long"),)]
    assert placed("cat " * 36 + "long") == [(), ((1, "long"),)]
    assert placed("easynegative easynegative") == [((1, "easynegative"),)] * 2
    assert placed("cat easynegative cat") == [(), ((1, "easynegative"),), ()]


def test_a_word_behind_the_last_comma_moves_on_with_what_follows_it() -> None:
    first, second = CLIP.chunks("cat " * 64 + ", cat bad-hands " + "cat " * 9, words=INDEX)
    assert len(body(first)) == 65
    assert second.words == ((2, "Bad-Hands"),)
    assert body(second) == (CAT, FREE, FREE, FREE, *(CAT,) * 9)


def test_a_word_is_meant_in_every_mode_of_emphasis() -> None:
    assert placed("(bad-hands)", emphasis="None") == [((2, "Bad-Hands"),)]
    assert placed("(bad-hands)", emphasis="Ignore") == [((1, "Bad-Hands"),)]


@given(st.lists(st.sampled_from(["cat", ",", "bad", "bad-hands", "long", "(bad:1.1)", "BREAK", "photo"]), max_size=60))
def test_no_word_is_torn_apart_and_none_is_lost(parts: list[str]) -> None:
    text = " ".join(parts)
    chunks, vectors = CLIP.chunks(text, words=INDEX), {"bad": 2, "Bad-Hands": 3, "long": 40}
    for chunk in chunks:
        free = [place for place, id in enumerate(chunk.ids) if id == FREE][1:]
        assert free == [place for start, name in chunk.words for place in range(start, start + vectors[name])]
        assert len(chunk.ids) == 77
    wanted = [{"(bad:1.1)": "bad", "bad-hands": "Bad-Hands"}.get(part, part) for part in parts]
    found = [name for chunk in chunks for _, name in chunk.words]
    assert found == [part for part in wanted if part in vectors]
    assert sum(CLIP.lengths(text, words=INDEX)) == sum(vectors.get(part, part != "BREAK") for part in wanted)
