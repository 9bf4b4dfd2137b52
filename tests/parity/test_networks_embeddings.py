"""Texts with an embedding in them against transformers, whose vocabulary is given the vectors as further words."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextModelWithProjection

from tests.networks.conftest import tiny  # noqa: F401
from tests.networks.files import write
from tests.nn.weights import draw, relative_error
from webui.checkpoints.load import LoadedModel
from webui.networks.embeddings import describe_embedding
from webui.networks.vectors import load_vectors
from webui.nn.text import clip_config
from webui.schema.errors import ModelError

Tiny = Callable[[str], LoadedModel]
FILES = {"sd1": ("emb_params",), "sd2": ("<word>",), "sdxl": ("clip_l", "clip_g")}


@pytest.mark.parametrize("family", FILES)
@torch.no_grad()
def test_a_text_with_an_embedding_agrees_with_transformers(family: str, tmp_path: Path, tiny: Tiny) -> None:  # noqa: F811
    model = tiny(family)
    vectors = {key: draw(3, 16, seed=index) for index, key in enumerate(FILES[family])}
    path = write(tmp_path / "word.safetensors", vectors)
    loaded = load_vectors(describe_embedding(path, "word"), model)
    for key, text, found in zip(FILES[family], model.texts, loaded, strict=True):
        config = text.config
        theirs = CLIPTextModelWithProjection(clip_config(config)).eval()
        theirs.load_state_dict(text.state_dict(), strict=config.projection is not None)
        theirs.resize_token_embeddings(config.vocab_size + 3, mean_resizing=False)
        theirs.get_input_embeddings().weight[config.vocab_size :] = vectors[key]
        ids = torch.full((1, config.length), config.end_id)
        ids[0, :6] = torch.tensor([config.start_id, 5, *range(config.vocab_size, config.vocab_size + 3), 7])
        known = ids.clamp(max=config.vocab_size - 1)
        known[0, 2:5] = 0
        embedded = text.embed(known)
        embedded[0, 2:5] = found
        ours = text.states(embedded)[-1]
        expected = theirs(ids, output_hidden_states=True).hidden_states[-1]
        assert relative_error(ours, expected) < 1e-5
        assert relative_error(text.states(text.embed(known))[-1], expected) > 0.01


def test_vectors_take_the_text_encoders_format(tmp_path: Path, tiny: Tiny) -> None:  # noqa: F811
    model = tiny("sdxl")
    for text in model.texts:
        text.to(torch.bfloat16)
    path = write(tmp_path / "word.safetensors", {"clip_l": draw(16), "clip_g": draw(16)})
    assert [(found.dtype, found.shape) for found in load_vectors(describe_embedding(path, "word"), model)] == [
        (torch.bfloat16, (1, 16))
    ] * 2


def test_a_damaged_embedding_is_refused(tmp_path: Path, tiny: Tiny) -> None:  # noqa: F811
    path = write(tmp_path / "word.safetensors", {"emb_params": torch.full((2, 16), torch.nan)})
    with pytest.raises(ModelError, match='"word" is damaged'):
        load_vectors(describe_embedding(path, "word"), tiny("sd1"))


def test_an_embedding_for_another_family_is_refused(tmp_path: Path, tiny: Tiny) -> None:  # noqa: F811
    path = write(tmp_path / "word.safetensors", {"emb_params": draw(2, 768)})
    with pytest.raises(ModelError, match=r'"word" is an embedding for SD 1\.x, the loaded model is SDXL'):
        load_vectors(describe_embedding(path, "word"), tiny("sdxl"))
