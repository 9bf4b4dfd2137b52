import random

import pytest

from models.toybox.tokenizer import END, START, WordTokenizer, learn_merges, merge, words_of_the_world
from models.toybox.world import augmented_caption, scene_of
from webui.prompt.tokenize import Tokenizer

TOKENIZER = WordTokenizer.of_the_world()


def test_the_web_ui_reads_captions_as_training_does():
    theirs = Tokenizer.from_json(TOKENIZER.header())
    rng = random.Random(0)
    for seed in range(200):
        text = augmented_caption(scene_of(seed), rng)
        assert list(theirs.chunks(text)[0].ids) == TOKENIZER.encode(text)


def test_every_word_of_the_world_is_one_token():
    assert all(len(TOKENIZER.word(word)) == 1 for word in words_of_the_world())


def test_unknown_text_falls_apart_into_known_pieces():
    pieces = {index: piece for piece, index in TOKENIZER.vocab.items()}
    spelt = "".join(pieces[index] for index in TOKENIZER.word("dragonfly"))
    assert spelt == "dragonfly</w>"
    assert len(TOKENIZER.word("é")) == 2  # two bytes


@pytest.mark.parametrize("text", ["", "a big red ball, orange sky", "naïve 12 :) 漢字", "word " * 200])
def test_every_text_gives_77_tokens_from_start_to_end(text):
    ids = TOKENIZER.encode(text)
    assert len(ids) == 77
    assert ids[0] == TOKENIZER.vocab[START]
    assert ids[-1] == TOKENIZER.vocab[END]


def test_the_two_special_tokens_close_the_vocabulary():
    assert [TOKENIZER.vocab[START], TOKENIZER.vocab[END]] == [len(TOKENIZER.vocab) - 2, len(TOKENIZER.vocab) - 1]
    assert sorted(TOKENIZER.vocab.values()) == list(range(len(TOKENIZER.vocab)))


def test_merges_join_the_most_frequent_pair_first():
    assert learn_merges(["aab", "aac"])[0] == ("a", "a")


def test_merging_goes_from_the_left():
    assert merge(("a", "a", "a"), ("a", "a")) == ("aa", "a")
