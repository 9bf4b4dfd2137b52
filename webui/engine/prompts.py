"""Encodes the texts of prompts with the networks that stand on a model and the embeddings that they name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from webui.checkpoints.load import LoadedModel
from webui.diffusion.denoiser import Cond
from webui.engine.worn import Key, WornNetworks
from webui.networks.acted import ActedFile
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.vectors import EmbeddedWords
from webui.pipeline.work import EncodeText, Texts
from webui.prompt.encode import encode_prompt, joined

K = TypeVar("K")
V = TypeVar("V")
REMEMBERED_TEXTS = 32


class PromptEncoder:
    """That of one model. worn: its networks; say: told of words that name an embedding which cannot be used;
    at_hand: calls what calls the text encoders, which may have to come to the device first.

    The same texts are encoded once by the same networks, as long as the files of embeddings are the same.
    """

    def __init__(
        self,
        model: LoadedModel,
        worn: WornNetworks,
        embeddings: EmbeddingCatalogue,
        say: Callable[[str], None],
        at_hand: Callable[[Callable[[], Cond]], Cond] = lambda call: call(),
    ) -> None:
        self._model = model
        self._worn = worn
        self._words = EmbeddedWords(model, embeddings)
        self._say = say
        self._at_hand = at_hand
        self._looked = False
        self._texts: OrderedDict[tuple[EncodeText, Key], Texts] = OrderedDict()
        self._conds: OrderedDict[tuple[str, EncodeText, Key], Cond] = OrderedDict()

    def encode(self, wanted: EncodeText) -> Texts:
        """With the networks that stand now.

        Raises:
            ModelError: an embedding is damaged. BadRequest: as `encode_prompt`.
        """
        self._look_for_words()
        for note in self._words.prompts.notes(wanted.texts, wanted.emphasis):
            self._say(note)
        wanted = replace(wanted, networks=self._worn.now)
        return remembered(self._texts, (wanted, self._worn.key), lambda: self._encode(wanted))

    def job_over(self) -> None:
        """Look at the files of embeddings again before the next text."""
        self._looked = False

    def _look_for_words(self) -> None:
        if not self._looked and self._words.refresh():
            self._texts.clear()
            self._conds.clear()
        self._looked = True

    def _encode(self, wanted: EncodeText) -> Texts:
        conds, uncond = joined(
            self._model, partial(self._encode_one, wanted), [text for text, _ in wanted.prompts], wanted.negative_prompt
        )
        weights = (weight for _, weight in wanted.prompts)
        named = self._words.prompts.named(wanted.texts, wanted.emphasis)
        acted = (*self._worn.acted, *(ActedFile("embedding", file.name, file.path) for file in named))
        return Texts(tuple(zip(conds, weights, strict=True)), uncond, acted)

    def _encode_one(self, wanted: EncodeText, text: str) -> Cond:
        """One text in the way of a wish; a prompt that changes at each step has its negative encoded once."""
        how = replace(wanted, prompts=(), negative_prompt="")

        def encode() -> Cond:
            size = how.width, how.height
            return self._at_hand(
                lambda: encode_prompt(self._model, text, how.clip_skip, *size, how.emphasis, self._words)
            )

        return remembered(self._conds, (text, how, self._worn.key), encode)


def remembered(kept: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """What is kept under a key, made where it is not; what was not asked for the longest makes room."""
    if key not in kept:
        kept[key] = make()
        if len(kept) > REMEMBERED_TEXTS:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
