"""Every bundled folder with preprocessors: complete, within its bounds, and its code as its manifest says."""

from __future__ import annotations

import ast

import pytest

from tests.extensions.support import ROOT, manifest

IDS = (
    "canny", "depth", "invert", "lineart", "lines", "normal", "pose", "recolor", "scribble", "segmentation", "shuffle",
    "softedge", "threshold", "tile", "toybox",
)  # fmt: skip
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


@pytest.mark.parametrize("id", IDS)
def test_models_name_their_place_their_source_and_their_licence(id: str):
    for model in manifest(id).models:
        assert model.file == model.id
        assert model.license in {"Apache-2.0", "MIT"}
        assert model.megabytes > 0
        assert {part.file for part in model.parts} == {"config.json", "preprocessor_config.json", "model.safetensors"}
        for part in model.parts:
            assert part.url == f"https://huggingface.co/{model.repository}/resolve/main/{part.file}"


def test_no_two_extensions_have_a_preprocessor_of_the_same_id():
    ids = [spec.id for id in IDS for spec in manifest(id).preprocessors]
    assert len(ids) == len(set(ids))
