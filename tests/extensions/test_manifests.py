"""Every bundled folder with preprocessors: complete, within its bounds, and its code as its manifest says."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.extensions.support import ROOT, manifest

IDS = (
    "canny", "depth", "inpaint", "invert", "lineart", "lines", "normal", "pose", "recolor", "scribble", "segmentation",
    "shuffle", "softedge", "threshold", "tile", "toybox",
)  # fmt: skip
WITH_MODELS = tuple(id for id in (*IDS, "clip_rank", "controlnet", "regions") if manifest(id).models)
NETWORK = {"config.json", "preprocessor_config.json", "model.safetensors"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"}
MAY_IMPORT = {"cv2", "numpy", "torch", "transformers", "PIL", "webui.ext"}
STANDARD = {"colorsys", "collections.abc", "dataclasses", "json", "math", "pathlib", "typing"}


def functions(id: str, module: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / id / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("id", IDS)
def test_a_folder_has_a_manifest_of_its_name_code_and_a_page_that_names_each_preprocessor(id: str):
    found = manifest(id)
    assert found.id == id
    assert found.preprocessors
    page = (ROOT / id / "README.md").read_text(encoding="utf-8")
    assert [spec.id for spec in found.preprocessors if f"`{spec.id}`" not in page] == []


@pytest.mark.parametrize("id", IDS)
def test_each_preprocessors_function_takes_exactly_the_declared_parameters(id: str):
    for spec in manifest(id).preprocessors:
        module, _, name = spec.entry.partition(":")
        node = functions(id, module)[name]
        assert [argument.arg for argument in node.args.args] == ["image"], spec.id
        given = [argument.arg for argument in node.args.kwonlyargs if argument.arg != "ctx"]
        assert given == [param.id for param in spec.params], spec.id


@pytest.mark.parametrize("id", IDS)
def test_an_extension_imports_from_webui_ext_and_the_promised_libraries_alone(id: str):
    for path in (ROOT / id).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)] if node.level == 0 else []
            else:
                continue
            roots = {name if name.startswith("webui") or name in STANDARD else name.split(".")[0] for name in names}
            assert roots <= MAY_IMPORT | STANDARD, path


@pytest.mark.parametrize("id", WITH_MODELS)
def test_models_name_their_place_their_source_and_their_licence(id: str):
    for model in manifest(id).models:
        assert model.license in {"Apache-2.0", "MIT"}
        assert model.megabytes > 0
        assert model.file
        repository, _, folder = model.repository.replace(")", "").partition(" (")
        where = f"https://huggingface.co/{repository}/resolve/[0-9a-z]+/{folder}".rstrip("/")
        for part in model.parts:
            assert re.fullmatch(f"{where}/{re.escape(part.file)}", part.url)


@pytest.mark.parametrize("id", [id for id in WITH_MODELS if id != "controlnet"])
def test_models_are_whole_repositories_in_folders_of_their_name(id: str):
    for model in manifest(id).models:
        assert model.file == model.id
        assert {part.file for part in model.parts} - (TOKENIZER if id == "clip_rank" else set()) == NETWORK


def tower(width: int, layers: int, inner: int, projection: int) -> CLIPVisionModelWithProjection:
    """The image half of a CLIP with patches of 14 x 14 pixels, without memory for its numbers."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width, num_hidden_layers=layers, intermediate_size=inner, num_attention_heads=16,
            projection_dim=projection, image_size=224, patch_size=14,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("id", "model", "network", "bytes_per_number"),
    [
        ("clip_rank", "clip_vit_base_patch32", lambda: CLIPModel(CLIPConfig()), 4),  # transformers' default: ViT-B/32
        ("controlnet", "clip_h", lambda: tower(1280, 32, 5120, 1024), 4),
        ("controlnet", "clip_g", lambda: tower(1664, 48, 8192, 1280), 2),
    ],
)
def test_the_size_that_is_told_of_a_clip_is_that_of_its_architecture(
    id: str, model: str, network: Callable[[], nn.Module], bytes_per_number: int
):
    with torch.device("meta"):
        numbers = sum(weight.numel() for weight in network().parameters())
    (declared,) = [one for one in manifest(id).models if one.id == model]
    assert declared.megabytes == pytest.approx(numbers * bytes_per_number / 1e6, rel=2e-3)


def test_no_two_extensions_have_a_preprocessor_of_the_same_id():
    ids = [spec.id for id in IDS for spec in manifest(id).preprocessors]
    assert len(ids) == len(set(ids))
