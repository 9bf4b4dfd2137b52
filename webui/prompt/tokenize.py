"""CLIP's byte-pair tokenizer, and prompts as chunks of 77 tokens."""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import Any, NamedTuple

from tokenizers import Regex
from tokenizers import Tokenizer as BytePairs
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from webui.prompt.parse import Section, parse_emphasis, parse_prompt
from webui.prompt.words import NO_WORDS, Word, WordIndex
from webui.schema.errors import ModelError
from webui.schema.names import Emphasis

START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_MERGES = 48_894
COMMA_BACKTRACK = 20
"""Tokens after the last comma that move on to the next chunk with what follows it."""

_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Chunk:
    """One input of a text encoder: start token, words, end token, padding; a weight for each token.

    words: place of the first vector and name of each word that stands for vectors.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    words: tuple[tuple[int, str], ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether any token has another weight than 1."""
        return any(weight != 1.0 for weight in self.weights)


class _Token(NamedTuple):
    """word: the word whose first vector takes this token's place."""

    id: int
    weight: float
    word: str = ""


class Tokenizer:
    """Text -> token ids, as CLIP does it (Radford et al. 2021, arXiv:2103.00020; byte pairs: arXiv:1508.07909).

    vocab: piece -> id, pieces that end a word ending in `</w>`; merges: pairs of pieces, the first merged first.
    """

    def __init__(self, vocab: Mapping[str, int], merges: Iterable[tuple[str, str]], length: int = 77) -> None:
        missing = [piece for piece in (START, END) if piece not in vocab]
        if missing:
            raise ModelError(f"The tokenizer has no piece {missing[0]}.", "The model file is damaged: get it again.")
        self.start_id, self.end_id = vocab[START], vocab[END]
        self.size = max(vocab.values()) + 1
        self.length = length
        self._comma = vocab.get(",</w>")
        self._pairs = _byte_pairs(vocab, merges)

    @classmethod
    def clip(cls, length: int = 77) -> Tokenizer:
        """The tokenizer of CLIP and OpenCLIP, which every Stable Diffusion up to SDXL reads prompts with."""
        merges = clip_merges()
        letters = byte_letters()
        pieces = [*letters, *(f"{letter}</w>" for letter in letters), *(left + right for left, right in merges)]
        return cls({piece: index for index, piece in enumerate([*pieces, START, END])}, merges, length)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], length: int = 77) -> Tokenizer:
        """The tokenizer of a checkpoint's header: {"vocab": {piece: id}, "merges": ["a b", ...]}.

        Raises:
            ModelError: the header's tokenizer is damaged.
        """
        try:
            vocab = {str(piece): int(index) for piece, index in data["vocab"].items()}
            merges = [_pair(merge) for merge in data["merges"]]
            return cls(vocab, merges, length)
        except ModelError:
            raise
        except Exception as error:  # the library's errors have no type of their own
            raise ModelError(
                f"The tokenizer in the file's header cannot be used: {error}.", "The file is damaged: get it again."
            ) from error

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end; neither can be written in a text."""
        return list(self._pairs.encode(_cleaned(text)).ids)

    def count(self, text: str) -> int:
        """Tokens of a prompt, as the page shows them: without its brackets, weights and BREAKs."""
        return sum(len(self.encode(part.text)) for section in parse_prompt(text) for part in section)

    def index(self, words: Mapping[str, int]) -> WordIndex:
        """Words that stand for vectors (name -> how many), as this tokenizer reads them."""
        return WordIndex([Word(name, tuple(self.encode(name)), vectors) for name, vectors in words.items()])

    def chunks(
        self, text: str, pad_id: int | None = None, emphasis: Emphasis = "Original", words: WordIndex = NO_WORDS
    ) -> tuple[Chunk, ...]:
        """A prompt of any length as chunks, at least one.

        A chunk that overflows ends after its last comma, when that is at most 20 tokens back; BREAK ends it at once,
        and a word whose vectors have no room in it begins the next one.
        pad_id: what fills a chunk up behind the end token; None: the end token. words: those that stand for vectors,
        none for more than a chunk holds.
        """
        bodies = self._bodies(text, emphasis, words)
        return tuple(self._chunk(body, self.end_id if pad_id is None else pad_id) for body in bodies)

    def lengths(self, text: str, emphasis: Emphasis = "Original", words: WordIndex = NO_WORDS) -> tuple[int, ...]:
        """How many tokens of a prompt stand in each of its chunks, without start, end and padding."""
        return tuple(len(body) for body in self._bodies(text, emphasis, words))

    def words(self, text: str, emphasis: Emphasis, words: WordIndex) -> tuple[str, ...]:
        """Names of the words in a prompt that stand for vectors, each once, in their order."""
        sections = parse_emphasis(text, emphasis) if words else ()
        tokens = (token for section in sections for run in self._runs(section, words) for token in run)
        return tuple(dict.fromkeys(token.word for token in tokens if token.word))

    def empty_chunk(self, pad_id: int | None = None) -> Chunk:
        """The chunk of an empty prompt."""
        return self.chunks("", pad_id)[0]

    def _bodies(self, text: str, emphasis: Emphasis, words: WordIndex) -> list[list[_Token]]:
        first, *others = parse_emphasis(text, emphasis)
        if others and not others[-1]:
            others.pop()  # a BREAK at the end starts nothing
        return [body for section in (first, *others) for body in self._fill(section, words)]

    def _fill(self, section: Section, words: WordIndex) -> Iterator[list[_Token]]:
        """The tokens of a section, in bodies of at most `length` - 2; an empty section is one body."""
        room, after_comma = self.length - 2, 0
        body: list[_Token] = []
        for run in self._runs(section, words):
            comma = run[0].id == self._comma
            if len(body) == room:
                near = after_comma and room - after_comma < COMMA_BACKTRACK and not comma
                cut = after_comma if near else room
                yield body[:cut]
                body, after_comma = body[cut:], 0
            if len(body) + len(run) > room:
                yield body
                body, after_comma = [], 0
            body += run
            after_comma = len(body) if comma else after_comma
        yield body

    def _runs(self, section: Section, words: WordIndex) -> Iterator[tuple[_Token, ...]]:
        """What is not to be torn apart: a token, or as many as a word has vectors, which start tokens keep free."""
        for part in section:
            ids, place = self.encode(part.text), 0
            while place < len(ids):
                word = words.at(ids, place)
                if word is None:
                    yield (_Token(ids[place], part.weight),)
                    place += 1
                else:
                    rest = (_Token(self.start_id, part.weight),) * (word.vectors - 1)
                    yield (_Token(self.start_id, part.weight, word.name), *rest)
                    place += len(word.ids)

    def _chunk(self, body: Sequence[_Token], pad_id: int) -> Chunk:
        fill = self.length - 2 - len(body)
        ids = (self.start_id, *(token.id for token in body), self.end_id, *(pad_id,) * fill)
        words = tuple((place, token.word) for place, token in enumerate(body, 1) if token.word)
        return Chunk(ids, (1.0, *(token.weight for token in body), *(1.0,) * (fill + 1)), words)


def clip_merges() -> list[tuple[str, str]]:
    """The byte-pair merges of CLIP's vocabulary, from the file that is part of this package."""
    file = resources.files("webui.prompt") / "data" / "bpe_simple_vocab_16e6.txt.gz"
    with file.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8") as lines:
        return [_pair(line.rstrip("\n")) for line in islice(lines, 1, CLIP_MERGES + 1)]  # the first is a heading


def byte_letters() -> list[str]:
    """GPT-2's 256 printable letters for bytes, in CLIP's order: bytes that print themselves, then all others."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(256 - len(plain))]


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _byte_pairs(vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> BytePairs:
    pairs = BytePairs(BPE(vocab=dict(vocab), merges=list(merges), end_of_word_suffix="</w>"))
    words = Split(Regex(_WORD), behavior="removed", invert=True)
    pairs.pre_tokenizer = Steps([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    return pairs


def _cleaned(text: str) -> str:
    """One Unicode form, single spaces, lower case."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip().lower()
