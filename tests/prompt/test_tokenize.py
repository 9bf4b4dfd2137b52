"""CLIP's tokenizer and the chunks of 77 tokens."""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from tests.support import word_tokenizer
from webui.prompt.parse import parse_prompt
from webui.prompt.tokenize import END, START, Tokenizer, byte_letters, clip_merges
from webui.schema.errors import ModelError

A, PHOTO, OF, CAT, COMMA = 320, 1125, 539, 2368, 267


@pytest.fixture(scope="module")
def clip() -> Tokenizer:
    return Tokenizer.clip()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [A, PHOTO, OF, A, CAT]),
        ("A  PHOTO\nof a\tCat ", [A, PHOTO, OF, A, CAT]),
        ("hello world", [3306, 1002]),
        ("a,cat", [A, COMMA, CAT]),
        ("!", [256]),
        ("", []),
        ("best quality, a photo", [949, 3027, COMMA, A, PHOTO]),
    ],
)
def test_known_texts_have_their_published_ids(clip, text, ids):
    assert clip.encode(text) == ids
    assert (clip.start_id, clip.end_id, clip.size) == (49406, 49407, 49408)


def test_start_and_end_cannot_be_written_in_a_prompt(clip):
    ids = clip.encode(f"a {START} cat {END}")
    assert clip.start_id not in ids
    assert clip.end_id not in ids


class Reference:
    """A second writing of byte-pair encoding: the best-ranked pair of a word is merged until none is left."""

    def __init__(self):
        merges = clip_merges()
        letters = byte_letters()
        pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
        self.ids = {piece: index for index, piece in enumerate(pieces)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        order = [*range(33, 127), *range(161, 173), *range(174, 256)]
        order += [byte for byte in range(256) if byte not in order]
        self.letters = dict(zip(order, letters, strict=True))
        self.words = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")

    def encode(self, text):
        text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).lower()
        return [index for word in self.words.findall(text) for index in self.word(word)]

    def word(self, word):
        parts = [self.letters[byte] for byte in word.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            at = pairs.index(best)
            parts[at : at + 2] = ["".join(best)]
        return [self.ids[part] for part in parts]


@lru_cache
def reference():
    return Reference()


@lru_cache
def clip_twin():
    return Tokenizer.clip()


# letters that only some version of Unicode knows fall apart in several ways
word = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=12) | st.sampled_from(
    ["it's", "they'LL", "ﬀ", "naïve", "北京", "🎨", "123", "!!!", "a_b", "İstanbul", "e\u0301", "can't"]
)


@given(st.lists(word, max_size=6).map(" ".join))
def test_any_text_is_encoded_as_by_a_plain_writing(text):
    assert clip_twin().encode(text) == reference().encode(text)


@pytest.mark.parametrize("text", ["a photo of a cat", "it's they'll 123 :-) naïve 北京 🎨, don't", "HELLO   world\n!!"])
def test_texts_are_encoded_as_by_transformers(clip, text):
    merges = clip_merges()
    letters = byte_letters()
    pieces = [*letters, *(f"{x}</w>" for x in letters), *(a + b for a, b in merges), START, END]
    theirs = CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges)
    assert [clip.start_id, *clip.encode(text), clip.end_id] == theirs(text)["input_ids"]


def test_a_short_prompt_is_one_chunk_filled_up_with_end_tokens(clip):
    (chunk,) = clip.chunks("a cat")
    assert chunk.ids == (49406, A, CAT, 49407, *[49407] * 73)
    assert chunk.weights == (1.0,) * 77
    assert not chunk.weighted


def test_an_empty_prompt_is_one_chunk(clip):
    assert [chunk.ids for chunk in clip.chunks("")] == [(49406, *[49407] * 76)]
    assert clip.chunks("()") == clip.chunks("  ") == clip.chunks("")


def test_openclip_fills_up_with_zeros_behind_the_end_token(clip):
    assert clip.chunks("a cat", 0)[0].ids == (49406, A, CAT, 49407, *[0] * 73)


def test_weights_stand_beside_their_tokens(clip):
    (chunk,) = clip.chunks("a (cat:1.5), photo")
    assert chunk.ids[:6] == (49406, A, CAT, COMMA, PHOTO, 49407)
    assert chunk.weights[:6] == (1.0, 1.0, 1.5, 1.0, 1.0, 1.0)
    assert chunk.weighted


def test_seventy_five_tokens_fill_a_chunk_and_one_more_begins_the_next(clip):
    assert len(clip.chunks("cat " * 75)) == 1
    first, second = clip.chunks("cat " * 76)
    assert first.ids == (49406, *[CAT] * 75, 49407)
    assert second.ids[:3] == (49406, CAT, 49407)


def test_what_follows_a_late_comma_moves_on_whole(clip):
    first, second = clip.chunks("cat " * 60 + ", " + "photo " * 20)
    assert first.ids[:63] == (49406, *[CAT] * 60, COMMA, 49407)
    assert second.ids[:22] == (49406, *[PHOTO] * 20, 49407)


def test_an_early_comma_does_not_hold_the_words_together(clip):
    first, second = clip.chunks("cat " * 40 + ", " + "photo " * 40)
    assert first.ids == (49406, *[CAT] * 40, COMMA, *[PHOTO] * 34, 49407)
    assert second.ids[:8] == (49406, *[PHOTO] * 6, 49407)


def test_break_ends_a_chunk(clip):
    assert [chunk.ids[1] for chunk in clip.chunks("cat BREAK photo BREAK a BREAK")] == [CAT, PHOTO, A]
    assert [chunk.ids[1] for chunk in clip.chunks("BREAK cat")] == [49407, CAT]


def plain_chunks(tokens, comma, room, backtrack=20):
    """A second writing of the rule for long prompts."""
    chunks, chunk, last_comma = [], [], None
    for token in tokens:
        if token == comma:
            last_comma = len(chunk)
        elif len(chunk) == room and last_comma is not None and room - last_comma <= backtrack:
            chunks.append(chunk[: last_comma + 1])
            chunk, last_comma = chunk[last_comma + 1 :], None
        if len(chunk) == room:
            chunks.append(chunk)
            chunk, last_comma = [], None
        chunk.append(token)
    return [*chunks, chunk] if chunk or not chunks else chunks


@given(st.lists(st.sampled_from(["cat", "photo", ",", "of"]), max_size=400))
def test_long_prompts_are_cut_as_by_a_plain_writing(words):
    clip = clip_twin()
    tokens = clip.encode(" ".join(words))
    found = [[i for i in chunk.ids[1:] if i != clip.end_id] for chunk in clip.chunks(" ".join(words))]
    assert found == plain_chunks(tokens, COMMA, 75)


@given(st.text(max_size=300))
def test_every_prompt_becomes_whole_chunks(text):
    clip = clip_twin()
    chunks = clip.chunks(text)
    assert chunks
    assert all(len(chunk.ids) == len(chunk.weights) == 77 for chunk in chunks)
    tokens = [i for section in parse_prompt(text) for part in section for i in clip.encode(part.text)]
    assert [i for chunk in chunks for i in chunk.ids if i not in (clip.start_id, clip.end_id)] == tokens


def test_the_counter_leaves_brackets_and_weights_out(clip):
    assert clip.count("a (photo:1.3) of [a] BREAK cat") == 5
    assert clip.count("") == 0


def test_a_tokenizer_comes_from_a_header(clip):
    tokenizer = Tokenizer.from_json(word_tokenizer(("zebra", "green")))
    assert len(tokenizer.encode("green zebra")) == 2
    assert len(tokenizer.encode("zeb")) == 2
    assert len(tokenizer.encode("ö")) == 2
    small = Tokenizer.from_json(word_tokenizer(), length=10)
    assert [len(chunk.ids) for chunk in small.chunks("a red ball " * 8)] == [10, 10, 10]


def test_short_chunks_without_a_comma_are_cut_where_they_are_full():
    small = Tokenizer.from_json(word_tokenizer(), length=10)
    assert len(small.chunks("red " * 16)) == 2


@pytest.mark.parametrize(
    "data", [{}, {"vocab": {}, "merges": []}, {"vocab": {START: 0, END: 1}, "merges": ["a"]}, {"vocab": 3}]
)
def test_a_damaged_tokenizer_is_a_model_error(data):
    with pytest.raises(ModelError):
        Tokenizer.from_json(data)
