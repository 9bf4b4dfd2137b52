"""The embeddings that the words of prompts name, as the tokenizers of one model read them. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from webui.checkpoints.files import Stamp
from webui.networks.embeddings import EmbeddingCatalogue, EmbeddingFile, check_fits
from webui.nn.config import ModelConfig
from webui.prompt.tokenize import Tokenizer
from webui.prompt.words import NO_WORDS, WordIndex
from webui.schema.errors import ModelError
from webui.schema.names import Emphasis


class PromptWords:
    """indices: the words that stand for vectors, for each tokenizer. They are those of the last `refresh`."""

    def __init__(self, tokenizers: Sequence[Tokenizer], config: ModelConfig, catalogue: EmbeddingCatalogue) -> None:
        self.indices: tuple[WordIndex, ...] = (NO_WORDS,) * len(tokenizers)
        self._tokenizers = tokenizers
        self._room = min((tokenizer.length for tokenizer in tokenizers), default=0) - 2
        self._config = config
        self._catalogue = catalogue
        self._seen: list[tuple[Stamp, EmbeddingFile]] = []
        self._files: dict[str, EmbeddingFile] = {}
        self._refused: dict[str, str] = {}
        self._all = NO_WORDS

    def refresh(self) -> bool:
        """Look at the files. Whether any has come, gone or changed since the last time."""
        seen = self._catalogue.stamped()
        if seen == self._seen:
            return False
        self._seen, self._files, self._refused = seen, {}, {}
        for _, file in seen:
            self._sort_in(file)
        counts = {name: file.info.vectors for name, file in self._files.items() if file.info is not None}
        self.indices = tuple(tokenizer.index(counts) for tokenizer in self._tokenizers)
        self._refused = {name: why for name, why in self._refused.items() if name not in counts}
        for tokenizer in self._tokenizers[:1]:
            self._all = tokenizer.index({**counts, **dict.fromkeys(self._refused, 1)})
        return True

    def file(self, name: str) -> EmbeddingFile:
        """What a word of `indices` stands for."""
        return self._files[name]

    def named(self, texts: Iterable[str], emphasis: Emphasis) -> tuple[EmbeddingFile, ...]:
        """The embeddings that act in texts, each once."""
        return tuple(self._files[name] for name in self._found(texts, emphasis, self.indices[0]))

    def notes(self, texts: Iterable[str], emphasis: Emphasis) -> tuple[str, ...]:
        """What is to be said of words that name embeddings which cannot be used with this model."""
        if not self._refused:
            return ()
        found = self._found(texts, emphasis, self._all)
        return tuple(self._refused[name] for name in found if name in self._refused)

    def _found(self, texts: Iterable[str], emphasis: Emphasis, index: WordIndex) -> tuple[str, ...]:
        if not index:
            return ()
        names = (name for text in texts for name in self._tokenizers[0].words(text, emphasis, index))
        return tuple(dict.fromkeys(names))

    def _sort_in(self, file: EmbeddingFile) -> None:
        name, why = file.name.lower(), _refusal(file, self._config, self._room)
        if why:
            self._refused.setdefault(name, f'The word "{file.name}" is read as it stands: {why}')
        else:
            self._files.setdefault(name, file)


def _refusal(file: EmbeddingFile, config: ModelConfig, room: int) -> str:
    """Why an embedding cannot be used in the prompts of a model whose chunks have room for so many tokens; or ""."""
    if file.info is None:
        return file.error
    try:
        check_fits(file.name, file.info, config)
    except ModelError as error:
        return error.message
    if file.info.vectors > room:
        return f"its embedding has {file.info.vectors} vectors, a chunk of a prompt takes {room}."
    return ""
