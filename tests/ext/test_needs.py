"""Which model files a preprocessor needs, and the sentence that says which are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.extensions.support import ROOT
from webui.ext.manifest import Manifest, parse_manifest, read_manifest
from webui.ext.needs import Offered, listed, models_of_fields, needed_models, place_of, require_models
from webui.ext.params import values_of
from webui.schema.errors import NotFound

FAR = """
[extension]
id = "far"
name = "Distance"
version = "1.0.0"
api = "1"
[[model]]
id = "one"
file = "one.bin"
repository = "somebody/one"
[[model]]
id = "folder"
file = "folder"
part = [{ file = "config.json" }, { file = "sub/net.bin" }, { file = "words.txt" }]
[[preprocessor]]
id = "far_one"
entry = "main:far"
models = ["one"]
[[preprocessor]]
id = "far_folder"
entry = "main:far"
models = ["folder"]
"""
SLOPE = """
[extension]
id = "slope"
name = "Slope"
version = "1.0.0"
api = "1"
[[preprocessor]]
id = "slope"
entry = "main:slope"
uses = ["by", "slope"]
param = [{ id = "by", type = "choice", choices = ["far_one", "far_folder"], default = "far_folder" }]
[[preprocessor]]
id = "steep"
entry = "main:slope"
uses = ["far_one", "slope", "gone"]
"""


def offered(*manifests: Manifest) -> Offered:
    return {spec.id: (manifest, spec) for manifest in manifests for spec in manifest.preprocessors}


@pytest.fixture
def both() -> Offered:
    return offered(parse_manifest(FAR), parse_manifest(SLOPE))


@pytest.mark.parametrize(
    ("id", "params", "models"),
    [
        ("far_one", {}, ["one"]),
        ("slope", {}, ["folder"]),
        ("slope", {"by": "far_one"}, ["one"]),
        ("steep", {"by": "far_one"}, ["one", "folder"]),
        ("nobody", {}, []),
    ],
)
def test_models_are_those_of_all_preprocessors_that_are_used(
    both: Offered, id: str, params: dict[str, str], models: list[str]
) -> None:
    assert [model.id for _manifest, model in needed_models(id, params, both)] == models


def test_normals_need_the_depth_model_that_is_chosen() -> None:
    bundled = offered(read_manifest(ROOT / "depth"), read_manifest(ROOT / "normal"))
    chosen = {"estimator": "depth_zoe"}
    assert [model.id for _, model in needed_models("normal_depth", chosen, bundled)] == ["zoedepth_nyu_kitti"]
    assert [model.id for _, model in needed_models("normal_midas", {}, bundled)] == ["dpt_hybrid_midas"]


JUDGE = """
[extension]
id = "judge"
name = "Judge"
version = "1.0.0"
api = "1"
[[model]]
id = "small"
file = "small_net"
[[model]]
id = "large"
file = "large_net"
[[model]]
id = "eye"
file = "eye"
[[accordion]]
label = "Judge"
models = ["net", "eye"]
when = ["rank", "words"]
fields = [
  { id = "rank", type = "bool" }, { id = "words", type = "text" }, { id = "net", type = "text", default = "small" },
]
[[accordion]]
label = "More"
fields = [{ id = "other", type = "bool", default = true }]
"""


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ({}, []),
        ({"net": "large"}, []),
        ({"rank": True}, ["small", "eye"]),
        ({"words": "a ball", "net": "large"}, ["large", "eye"]),
        ({"rank": True, "net": "large_net"}, ["large", "eye"]),
        ({"rank": True, "net": "mine"}, ["eye"]),
    ],
)
def test_fields_need_the_models_that_they_name_where_one_of_them_is_on(
    given: dict[str, Any], models: list[str]
) -> None:
    judge = parse_manifest(JUDGE)
    assert [model.id for model in models_of_fields(judge, values_of(judge.fields, given))] == models


def test_fields_without_a_condition_need_their_models_always() -> None:
    judge = parse_manifest(JUDGE.replace('when = ["rank", "words"]', ""))
    assert [model.id for model in models_of_fields(judge, values_of(judge.fields, {}))] == ["small", "eye"]


def test_what_is_missing_and_where_it_belongs_is_said_in_good_english(both: Offered, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        require_models("far_one", {}, both, tmp_path)
    assert str(raised.value) == (
        "Distance needs one.bin, which is not in models/ControlNetPreprocessor. "
        "Fetch it under Extensions, or put it there yourself (from somebody/one)."
    )
    with pytest.raises(NotFound) as raised:
        require_models("slope", {}, both, tmp_path)
    assert str(raised.value) == (
        "Distance needs config.json, sub/net.bin and words.txt, which are not in "
        "models/ControlNetPreprocessor/folder. "
        "Fetch them under Extensions, or put them there yourself."
    )


def test_a_whole_model_is_found_at_its_place(both: Offered, tmp_path: Path) -> None:
    place = tmp_path / "ControlNetPreprocessor"
    for name in ("one.bin", "folder/config.json", "folder/sub/net.bin", "folder/words.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    for id in both:
        require_models(id, {}, both, tmp_path)
    manifest = both["far_one"][0]
    assert [place_of(manifest, model, tmp_path) for model in manifest.models] == [place / "one.bin", place / "folder"]


def test_lists_of_names_read_as_a_sentence() -> None:
    assert [listed(list("abc"[:count])) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
