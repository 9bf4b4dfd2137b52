"""Embeddings in the models folder, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks.files import header_only
from tests.support import tiny_config
from webui.checkpoints.header import read_header
from webui.networks.embeddings import EmbeddingCatalogue, EmbeddingInfo, check_fits, detect_embedding
from webui.nn.config import SD15, SD21, SDXL
from webui.schema.errors import ModelError, NotFound


@pytest.mark.parametrize(
    ("shapes", "info", "family"),
    [
        ({"emb_params": (3, 768)}, EmbeddingInfo(("emb_params",), (768,), 3), "sd1"),
        ({"emb_params": (3, 1024)}, EmbeddingInfo(("emb_params",), (1024,), 3), "sd2"),
        ({"<cat>": (768,)}, EmbeddingInfo(("<cat>",), (768,), 1), "sd1"),
        ({"<cat>": (2, 768)}, EmbeddingInfo(("<cat>",), (768,), 2), "sd1"),
        ({"string_to_param.*": (2, 768), "step": (1,)}, EmbeddingInfo(("string_to_param.*",), (768,), 2), "sd1"),
        ({"clip_g": (4, 1280), "clip_l": (4, 768)}, EmbeddingInfo(("clip_l", "clip_g"), (768, 1280), 4), "sdxl"),
        ({"text_encoders_0": (4, 768), "text_encoders_1": (4, 1280)},
         EmbeddingInfo(("text_encoders_0", "text_encoders_1"), (768, 1280), 4), "sdxl"),
        ({"clip_g": (4, 1280)}, EmbeddingInfo(("clip_g",), (1280,), 4), "sdxl_refiner"),
        ({"mine": (1, 16)}, EmbeddingInfo(("mine",), (16,), 1), ""),
    ],
)  # fmt: skip
def test_every_shape_of_file_is_read(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], info: EmbeddingInfo, family: str
) -> None:
    found = detect_embedding(read_header(header_only(tmp_path / "x.safetensors", shapes)))
    assert (found, found.family) == (info, family)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"a": (1, 768), "b": (1, 768)}, "no embedding that is known here. It has no vectors by a known name"),
        ({"emb_params": (1, 2, 768)}, "looks like a textual inversion embedding, but not like one"),
        ({"emb_params": (0, 768)}, "looks like a textual inversion embedding, but not like one"),
        ({"x": ()}, "no embedding that is known here"),
        ({"x.lora_up.weight": (4, 2), "x.lora_down.weight": (2, 4)}, "no embedding: it looks like a LoRA"),
        ({"clip_l": (2, 768), "clip_g": (3, 1280)}, "another number of vectors for each text encoder"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(ModelError) as raised:
        detect_embedding(read_header(header_only(tmp_path / "x.safetensors", shapes)))
    assert said in raised.value.message
    assert raised.value.cure


def test_an_embedding_fits_the_models_whose_text_encoders_are_as_wide() -> None:
    sd1, sdxl = EmbeddingInfo(("emb_params",), (768,), 1), EmbeddingInfo(("clip_l", "clip_g"), (768, 1280), 1)
    assert [sd1.fits(config) for config in (SD15, SD21, SDXL)] == [True, False, False]
    assert [sdxl.fits(config) for config in (SD15, SD21, SDXL)] == [False, False, True]
    assert EmbeddingInfo(("mine",), (16,), 1).fits(tiny_config("sd1"))
    check_fits("cat", sd1, SD15)
    with pytest.raises(ModelError, match=r'"cat" is an embedding for SD 1\.x, the loaded model is SDXL\.'):
        check_fits("cat", sd1, SDXL)
    with pytest.raises(ModelError, match=r"an embedding for text encoders of 16 channels"):
        check_fits("cat", EmbeddingInfo(("mine",), (16,), 1), SDXL)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    header_only(models / "embeddings" / "Bad-Hands.safetensors", {"emb_params": (3, 768)})
    header_only(models / "embeddings" / "xl" / "cat.safetensors", {"clip_l": (1, 768), "clip_g": (1, 1280)})
    header_only(tmp_path / "embeddings" / "dog.safetensors", {"<dog>": (768,)})
    header_only(tmp_path / "embeddings" / "bad-hands.safetensors", {"emb_params": (9, 768)})
    header_only(models / "embeddings" / "broken.safetensors", {"a": (1,), "b": (1,)})
    (models / "embeddings" / "old.pt").write_bytes(b"PK\x03\x04")
    return models


def test_both_folders_are_listed(models: Path) -> None:
    names = [file.name for file in EmbeddingCatalogue(models).list()]
    assert names == ["Bad-Hands", "bad-hands", "broken", "cat", "dog", "old"]


def test_an_embedding_is_found_whatever_its_letters(models: Path) -> None:
    assert EmbeddingCatalogue(models).find("BAD-hands").name == "Bad-Hands"
    with pytest.raises(NotFound, match="use one of: dog"):
        EmbeddingCatalogue(models).find("dogg")
    with pytest.raises(ModelError, match="models convert"):
        EmbeddingCatalogue(models).find("old")


def test_the_catalogue_needs_no_torch() -> None:
    parts = ", ".join(f"webui.networks.{part}" for part in ("embeddings", "tags", "words"))
    program = f"import sys; sys.modules['torch'] = None; import {parts}"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
