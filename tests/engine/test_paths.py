"""Checkpoints by their paths, and what is said once they are loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.test_embeddings import PLAIN, made, write_embedding
from tests.support import write_tiny_checkpoint
from webui.checkpoints.reading import unknown_note
from webui.engine.api import Pipeline
from webui.schema.errors import ModelError
from webui.schema.requests import Txt2Img


def load(path: Path | str) -> Pipeline:
    return Pipeline.load(str(path), device="cpu")


def test_a_file_is_found_by_its_path_with_what_lies_beside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, alone = tmp_path / "models" / "Stable-diffusion" / "my" / "one.safetensors", tmp_path / "one.safetensors"
    for path in (inside, alone):
        write_tiny_checkpoint(path)
    write_embedding(tmp_path / "models" / "embeddings" / "ball.safetensors", 1)
    assert [load(path).model.name for path in (inside, alone)] == ["my/one", "one"]
    named, plain = (np.asarray(made(load(path), "a red ball").images[0].image) for path in (inside, alone))
    assert not np.array_equal(named, plain)
    monkeypatch.chdir(inside.parent)
    assert load("one.safetensors").model.name == "my/one"


def test_a_folder_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        load(tmp_path)


def test_tensors_that_nothing_reads_are_told_to_the_first_job(tmp_path: Path) -> None:
    path = tmp_path / "more.safetensors"
    write_tiny_checkpoint(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    more = {f"model.diffusion_model.new.{index}": torch.ones(1) for index in range(4)}
    save_file(load_file(path) | more, path, metadata)
    pipe = load(path)
    start = "model.diffusion_model.new"
    (note,) = made(pipe, "a red ball").notes
    assert note.startswith(f"more has 4 tensors that are not used: {start}.0, {start}.1, {start}.2 and 1 more.")
    assert made(pipe, "a red ball").notes == ()
    assert pipe.generate(Txt2Img(**PLAIN, vae="None")).notes == ()


def test_one_tensor_is_told_as_one() -> None:
    assert unknown_note("m", ()) == ""
    assert unknown_note("m", ("a",)).startswith("m has 1 tensor that is not used: a.")
