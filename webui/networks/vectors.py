"""The vectors of an embedding for the text encoders of a loaded model."""

from __future__ import annotations

from collections.abc import Sequence

from safetensors import safe_open
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.networks.embeddings import EmbeddingCatalogue, EmbeddingFile, check_fits
from webui.networks.words import PromptWords
from webui.prompt.words import WordIndex
from webui.schema.errors import ModelError


def load_vectors(file: EmbeddingFile, model: LoadedModel) -> tuple[Tensor, ...]:
    """For each text encoder the vectors (n d) that stand in the place of n token embeddings, on its device.

    Raises:
        ModelError: the file cannot be used, is for another family, or has NaN in it.
    """
    if file.info is None:
        raise ModelError(file.error)
    check_fits(file.name, file.info, model.config)
    found = []
    with safe_open(file.path, framework="pt", device="cpu") as opened:
        for key, text in zip(file.info.keys_for(model.config), model.texts, strict=True):
            vectors = opened.get_tensor(key)
            if not vectors.float().isfinite().all():
                raise ModelError(f'The embedding "{file.name}" is damaged: it has NaN numbers.', "Download it again.")
            found.append(vectors.reshape(file.info.vectors, -1).to(text.text_model.embeddings.token_embedding.weight))
    return tuple(found)


class EmbeddedWords:
    """`webui.prompt.encode.Words` of one loaded model. prompts: which words of prompts they are."""

    def __init__(self, model: LoadedModel, catalogue: EmbeddingCatalogue) -> None:
        self.prompts = PromptWords(model.tokenizers, model.config, catalogue)
        self._model = model
        self._loaded: dict[str, tuple[Tensor, ...]] = {}

    @property
    def indices(self) -> Sequence[WordIndex]:
        return self.prompts.indices

    def refresh(self) -> bool:
        """Look at the files. Whether anything that was encoded before may be encoded otherwise now."""
        changed = self.prompts.refresh()
        if changed:
            self._loaded.clear()
        return changed

    def vectors(self, name: str) -> tuple[Tensor, ...]:
        """Raises ModelError as `load_vectors`."""
        if name not in self._loaded:
            self._loaded[name] = load_vectors(self.prompts.file(name), self._model)
        return self._loaded[name]
