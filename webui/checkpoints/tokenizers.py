"""The tokenizers of a checkpoint, without its weights."""

from __future__ import annotations

from webui.checkpoints.folder import folder_tokenizer
from webui.checkpoints.shapes import CLIP_VOCABULARY
from webui.checkpoints.source import Checkpoint
from webui.nn.config import ModelConfig
from webui.prompt.tokenize import Tokenizer
from webui.schema.errors import ModelError

TOKENIZER_KEY = "atelier.tokenizer"


def load_tokenizers(source: Checkpoint, config: ModelConfig) -> tuple[Tokenizer, ...]:
    """One tokenizer for each text encoder: that of the header, that of a folder with words of its own, or CLIP's.

    Raises:
        ModelError: the tokenizer has more pieces than the text encoder.
    """
    given, length = source.header.json(TOKENIZER_KEY), config.texts[0].length
    if given is None and config.texts[0].vocab_size < CLIP_VOCABULARY:
        given = folder_tokenizer(source.path)
    tokenizer = Tokenizer.clip(length) if given is None else Tokenizer.from_json(given, length)
    for text in config.texts:
        if tokenizer.size > text.vocab_size:
            raise ModelError(
                f"The tokenizer has {tokenizer.size} pieces, the text encoder {text.vocab_size}.",
                f"The file needs a tokenizer of its own in its header ({TOKENIZER_KEY}).",
            )
    return (tokenizer,) * len(config.texts)
