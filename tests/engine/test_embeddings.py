"""Embeddings that prompts name, from the file to the pixels and the text of the picture."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.engine.test_networks import write_lora
from tests.support import write_tiny_checkpoint
from webui.checkpoints.cache import ModelCache
from webui.checkpoints.digests import WEIGHTS, digest_of
from webui.engine.api import Made, Pipeline
from webui.images.form import parse
from webui.schema.errors import ModelError
from webui.schema.requests import Txt2Img

PLAIN = {"seed": 5, "width": 64, "height": 48, "sampler": "Euler", "steps": 3}
WIDTH = 16


def write_embedding(path: Path, seed: int, vectors: int = 2, width: int = WIDTH) -> str:
    """Random vectors; returns the file's short hash."""
    path.parent.mkdir(exist_ok=True)
    save_file({"emb_params": torch.randn(vectors, width, generator=torch.Generator().manual_seed(seed))}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    write_tiny_checkpoint(models / "Stable-diffusion" / "tiny.safetensors")
    return models


@pytest.fixture
def pipe(models: Path) -> Pipeline:
    return Pipeline.load("tiny", models_dir=models, device="cpu")


def made(pipe: Pipeline, prompt: str, **fields: Any) -> Made:
    return pipe.generate(Txt2Img(**{**PLAIN, **fields, "prompt": prompt}))


def drawn(pipe: Pipeline, prompt: str, **fields: Any) -> np.ndarray:
    return np.asarray(made(pipe, prompt, **fields).images[0].image)


def labels(pipe: Pipeline, prompt: str, **fields: Any) -> list[dict[str, str]]:
    texts = [parse(image.infotext).fields for image in made(pipe, prompt, **fields).images]
    return [{label: text for label, text in one.items() if label.endswith("hashes")} for one in texts]


def test_a_word_acts_from_the_moment_its_file_is_there_until_it_goes(pipe: Pipeline, models: Path) -> None:
    path = models / "embeddings" / "ball.safetensors"
    before = drawn(pipe, "a red ball")
    write_embedding(path, 1)
    first = drawn(pipe, "a red ball")
    assert not np.array_equal(first, before)
    assert np.array_equal(first, drawn(pipe, "a red BALL"))
    write_embedding(path, 2)
    os.utime(path, ns=(1, 1))
    second = drawn(pipe, "a red ball")
    assert not np.array_equal(second, first)
    path.unlink()
    assert np.array_equal(drawn(pipe, "a red ball"), before)


def test_a_word_acts_in_the_negative_prompt(pipe: Pipeline, models: Path) -> None:
    before = drawn(pipe, "a red ball", negative_prompt="cat")
    write_embedding(models / "embeddings" / "cat.safetensors", 1)
    assert not np.array_equal(drawn(pipe, "a red ball", negative_prompt="cat"), before)


def test_the_texts_of_pictures_name_the_files_that_acted(pipe: Pipeline, models: Path) -> None:
    ball = write_embedding(models / "embeddings" / "Ball.safetensors", 1)
    cat = write_embedding(models / "embeddings" / "cat.safetensors", 2)
    write_embedding(models / "embeddings" / "dog.safetensors", 3)
    path = models / "Lora" / "a.safetensors"
    write_lora(path, models / "Stable-diffusion" / "tiny.safetensors", 1)
    lora = digest_of(path, WEIGHTS, ModelCache())[:12]
    plain: dict[str, str] = {}
    assert labels(pipe, "a red cube") == [plain]
    assert labels(pipe, "a ball", negative_prompt="cat") == [{"TI hashes": f"Ball: {ball}, cat: {cat}"}]
    assert labels(pipe, "[a ball:red:1]") == [{"TI hashes": f"Ball: {ball}"}]
    assert labels(pipe, "red <lora:a:0.5>") == [{"Lora hashes": f"a: {lora}"}]
    assert labels(pipe, "red <lora:a:0>") == [plain]
    assert labels(pipe, "red <lora:a:0:0@0,1@1>") == [{"Lora hashes": f"a: {lora}"}]
    several = labels(pipe, "red {ball|<lora:a:1>}", batch_size=4)
    assert {"TI hashes": f"Ball: {ball}"} in several
    assert {"Lora hashes": f"a: {lora}"} in several
    assert all(len(one) == 1 for one in several)


def test_a_files_hash_is_read_once(pipe: Pipeline, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models / "embeddings" / "ball.safetensors"
    ball = write_embedding(path, 1)
    assert labels(pipe, "a ball") == [{"TI hashes": f"ball: {ball}"}]
    monkeypatch.setattr("webui.checkpoints.digests.hashlib", None)
    assert labels(pipe, "a ball red") == [{"TI hashes": f"ball: {ball}"}]


def test_an_embedding_of_another_family_is_told_and_left_out(pipe: Pipeline, models: Path) -> None:
    before = drawn(pipe, "a red ball")
    write_embedding(models / "embeddings" / "ball.safetensors", 1, width=WIDTH + 4)
    for _ in range(2):  # also when the text is known already
        found = made(pipe, "a red ball")
        assert ['"ball" is an embedding for text encoders of 20 channels' in note for note in found.notes] == [True]
        assert np.array_equal(np.asarray(found.images[0].image), before)
    assert made(pipe, "a red cube").notes == ()


def test_a_damaged_embedding_is_an_error(pipe: Pipeline, models: Path) -> None:
    (models / "embeddings").mkdir()
    save_file({"emb_params": torch.full((1, WIDTH), torch.nan)}, models / "embeddings" / "ball.safetensors")
    with pytest.raises(ModelError, match=r'"ball" is damaged'):
        drawn(pipe, "a red ball")
    assert drawn(pipe, "a red cube").any()
