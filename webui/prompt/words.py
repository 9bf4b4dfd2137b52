"""Words of prompts that stand for vectors of their own: textual inversion (Gal et al. 2022, arXiv:2208.01618).

A word is found as A1111 finds it: by its tokens, wherever they follow each other in a run of one attention weight. So
letters' case does not count, and of two words that begin alike the longer one is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """vectors: how many tokens of a prompt it takes, whatever it takes when it is written out (`ids`)."""

    name: str
    ids: tuple[int, ...]
    vectors: int


class WordIndex:
    """Words of one tokenizer by their first tokens. It is not changed once it is made."""

    def __init__(self, words: Sequence[Word] = ()) -> None:
        self._by_first: dict[int, list[Word]] = {}
        for word in sorted(words, key=lambda word: len(word.ids), reverse=True):
            if word.ids:
                self._by_first.setdefault(word.ids[0], []).append(word)

    def __bool__(self) -> bool:
        return bool(self._by_first)

    def at(self, ids: Sequence[int], place: int) -> Word | None:
        """The longest word that begins at a place of a text's tokens; of two that read alike, the first one given."""
        words = self._by_first.get(ids[place], ())
        return next((word for word in words if tuple(ids[place : place + len(word.ids)]) == word.ids), None)


NO_WORDS = WordIndex()
"""For prompts in which every word is its tokens."""
