"""Which embeddings the words of a prompt name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.networks.files import header_only
from webui.networks.embeddings import EmbeddingCatalogue
from webui.networks.words import PromptWords
from webui.nn.config import SD15, SD21, SDXL, ModelConfig
from webui.prompt.tokenize import Tokenizer

CLIP = Tokenizer.clip()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    header_only(models / "embeddings" / "Bad-Hands.safetensors", {"emb_params": (3, 768)})
    header_only(models / "embeddings" / "xl" / "cat.safetensors", {"clip_l": (1, 768), "clip_g": (1, 1280)})
    header_only(tmp_path / "embeddings" / "dog.safetensors", {"<dog>": (768,)})
    header_only(tmp_path / "embeddings" / "bad-hands.safetensors", {"emb_params": (9, 768)})
    header_only(models / "embeddings" / "whole.safetensors", {"emb_params": (76, 768)})
    (models / "embeddings" / "old.pt").write_bytes(b"PK\x03\x04")
    return models


def words(models: Path, config: ModelConfig = SD15) -> PromptWords:
    found = PromptWords([CLIP] * len(config.texts), config, EmbeddingCatalogue(models))
    assert found.refresh()
    return found


def named(found: PromptWords, *texts: str) -> list[str]:
    return [f"{file.path.parent.name}/{file.path.stem}" for file in found.named(texts, "Original")]


def test_a_models_words_are_those_that_fit_it(models: Path) -> None:
    texts = "a (DOG:1.2), cat", "bad-hands whole old dog"
    assert named(words(models), *texts) == ["embeddings/dog", "embeddings/Bad-Hands"]  # the models folder goes first
    assert named(words(models, SDXL), *texts) == ["xl/cat"]
    assert named(words(models, SD21), *texts) == []
    assert words(models).file("bad-hands").info.vectors == 3


def test_sdxls_refiner_reads_the_second_part_of_sdxls_embeddings(models: Path) -> None:
    refiner = replace(SDXL, family="sdxl_refiner", texts=SDXL.texts[1:])
    found = words(models, refiner)
    assert named(found, "cat") == ["xl/cat"]
    assert found.file("cat").info.keys_for(refiner) == ("clip_g",)


def test_words_of_embeddings_that_cannot_be_used_are_told(models: Path) -> None:
    def notes(text: str, config: ModelConfig = SD15) -> tuple[str, ...]:
        return words(models, config).notes([text], "Original")

    (family,) = notes("a dog, a Cat")
    assert family == (
        'The word "cat" is read as it stands: "cat" is an embedding for SDXL, the loaded model is SD 1.x.'
    )
    assert "models convert" in notes("old")[0]
    assert "76 vectors, a chunk of a prompt takes 75" in notes("whole")[0]
    assert notes("bad-hands dog") == ()
    assert len(notes("bad-hands dog", SDXL)) == 2


def test_files_are_looked_at_again_when_they_change(models: Path) -> None:
    found = words(models)
    assert not found.refresh()
    header_only(models / "embeddings" / "new.safetensors", {"emb_params": (2, 768)})
    assert named(found, "new") == []
    assert found.refresh()
    assert named(found, "new") == ["embeddings/new"]
    (models / "embeddings" / "new.safetensors").unlink()
    assert found.refresh()
    assert named(found, "new") == []
