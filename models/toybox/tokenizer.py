"""A word-list vocabulary in CLIP's byte-pair form, learnt from the words of the world.

Every word of the list is one token; any other text falls apart into known pieces, in the end single bytes, so no
prompt is refused (byte-pair encoding: Sennrich et al. 2016, arXiv:1508.07909; byte alphabet: GPT-2).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from models.toybox.world import COLORS, FLOORS, POSES, RELATIONS, SHAPES, SIZES, SKIES

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")


def words_of_the_world() -> list[str]:
    """Every word that a caption can hold, sorted."""
    phrases = [*COLORS, *FLOORS, *SKIES, *SHAPES, *SIZES, *POSES, *RELATIONS]
    phrases += ["a an and in on of the picture photo toy scene floor sky person shirt pants"]
    return sorted({word for text in phrases for word in text.split()})


def byte_letters() -> list[str]:
    """256 printable letters, one for each byte: printable Latin-1 stands for itself, the rest follows from U+0100."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    table |= {byte: chr(256 + n) for n, byte in enumerate(b for b in range(256) if b not in plain)}
    return [table[byte] for byte in range(256)]


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges the most frequent pair (the first of its equals) until every word is one piece ending in </w>."""
    pieces = [(*word[:-1], word[-1] + "</w>") for word in words]
    merges: list[tuple[str, str]] = []
    while counts := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [merge(word, best) for word in pieces]
    return merges


def merge(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    """pieces with every occurrence of the pair, from the left, joined."""
    joined: list[str] = []
    index = 0
    while index < len(pieces):
        both = tuple(pieces[index : index + 2]) == pair
        joined.append("".join(pair) if both else pieces[index])
        index += 2 if both else 1
    return tuple(joined)


@dataclass(frozen=True)
class WordTokenizer:
    """Text -> token ids as CLIP's tokenizer would give them with this vocabulary and these merges."""

    merges: tuple[tuple[str, str], ...]
    vocab: dict[str, int]
    length: int = 77
    _known: dict[str, list[int]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of_the_world(cls) -> "WordTokenizer":
        """The tokenizer of Toybox: letters, letters that end a word, merged pieces, start and end."""
        merges = tuple(learn_merges(words_of_the_world()))
        letters = byte_letters()
        pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
        return cls(merges, {piece: index for index, piece in enumerate(pieces)})

    def header(self) -> dict[str, object]:
        """The value of `atelier.tokenizer` in the checkpoint's header."""
        return {"vocab": self.vocab, "merges": [" ".join(pair) for pair in self.merges]}

    def encode(self, text: str) -> list[int]:
        """Ids of exactly `length` tokens: start, the text (cut where it is too long), end, end as padding."""
        ids = [token for word in _WORD.findall(text.lower()) for token in self.word(word)][: self.length - 2]
        return [self.vocab[START], *ids] + [self.vocab[END]] * (self.length - 1 - len(ids))

    def word(self, word: str) -> list[int]:
        """Ids of one word."""
        if word not in self._known:
            letters = byte_letters()
            pieces: tuple[str, ...] = tuple(letters[byte] for byte in word.encode())
            pieces = (*pieces[:-1], pieces[-1] + "</w>")
            for pair in self.merges:
                pieces = merge(pieces, pair)
            self._known[word] = [self.vocab[piece] for piece in pieces]
        return self._known[word]
