"""How many tokens a prompt has, chunk by chunk, and what may not be meant in it; known before anything is drawn."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.source import open_checkpoint
from webui.checkpoints.tokenizers import load_tokenizers
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.words import PromptWords
from webui.prompt.grammar import read_prompt
from webui.prompt.schedule import Clock
from webui.prompt.tokenize import Tokenizer
from webui.prompt.wildcards import expand
from webui.schema.errors import ModelError
from webui.schema.names import Emphasis

MOST_TEXTS = 32
"""Of a prompt that changes at every step so many texts are counted, the longest by their letters."""


class Paths(Protocol):
    """Where checkpoints lie (`webui.checkpoints.catalogue.Catalogue`)."""

    def path(self, name: str) -> Path: ...


@dataclass(frozen=True)
class Counted:
    """tokens: in each chunk of the longest text that the prompt comes to at any step, of `room` a chunk."""

    tokens: tuple[int, ...]
    room: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reader:
    """What reads the prompts of a checkpoint. words: the embeddings that they may name."""

    tokenizer: Tokenizer
    words: PromptWords


class Tokens:
    """Counts with the tokenizer of the checkpoint that is asked for; the last one is kept. embeddings: those
    that prompts may name."""

    def __init__(self, models: Paths, embeddings: EmbeddingCatalogue) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._embeddings = embeddings
        self._kept: tuple[tuple[Path, Stamp], _Reader] | None = None

    def count(
        self, model: str, prompt: str, clock: Clock, negative: bool = False, emphasis: Emphasis = "Original"
    ) -> Counted:
        """Of a prompt with choices one result is counted; a wildcard counts as its name. clock: of its pass.

        Raises:
            NotFound, ModelError: there is no such model, or it cannot be read. BadRequest: the choices have no end.
        """
        path = self._models.path(model)
        read = read_prompt(expand(prompt, lambda name: [name], 0), negative)
        texts = {text for step in range(clock.steps if read.changes else 1) for text, _ in read.at(step, clock)}
        likely = sorted(texts, key=len, reverse=True)[:MOST_TEXTS]
        with self._lock:
            reader = self._reader(path)
            reader.words.refresh()
            tokenizer, index = reader.tokenizer, reader.words.indices[0]
            longest = max(
                (tokenizer.lengths(text, emphasis, index) for text in likely), key=lambda it: (len(it), sum(it))
            )
            notes = reader.words.notes(sorted(texts), emphasis)
        return Counted(longest, tokenizer.length - 2, (*read.notes, *notes))

    def _reader(self, path: Path) -> _Reader:
        key = path, stamp_of(path)
        if self._kept is None or self._kept[0] != key:
            source = open_checkpoint(path)
            config = source.config()
            found = load_tokenizers(source, config)
            if not found:
                raise ModelError(f"{path.name} reads no texts.", "Choose a checkpoint with a text encoder.")
            self._kept = key, _Reader(found[0], PromptWords(found, config, self._embeddings))
        return self._kept[1]
