"""`extension.toml`: read without importing anything, wrong in one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.ext.manifest import parse_manifest, read_manifest
from webui.schema.errors import ManifestError

HEAD = '[extension]\nid = "canny_demo"\nname = "Canny"\nversion = "1.0.0"\napi = "1"\n'
CANNY = HEAD + '[[preprocessor]]\nid = "canny"\nentry = "main:canny"\n'
FULL = (
    HEAD
    + """
description = "Edges."
authors = ["Ada"]
license = "MIT"
entry = "pkg.main"
python = ">=3.11"
webui = ">=0.1"
hooks = ["open_pass", "job_done"]
[dependencies]
packages = ["numpy>=2", "scipy; python_version < '3'"]
extensions = ["pose>=1.2"]
optional = ["depth"]
conflicts = ["tile"]
[order]
after = ["pose"]
before = ["lines"]
order = -3
[permissions]
network = true
[[model]]
id = "net"
file = "net/weights.safetensors"
url = "https://example.org/weights.safetensors"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 12
license = "MIT"
[[model]]
id = "folder"
file = "folder"
part = [{file = "config.json"}, {file = "model.safetensors", bytes = 3}]
[[preprocessor]]
id = "canny"
entry = "main:canny"
kind = "edges"
resolution = 512
models = ["net"]
param = [{id="low", type="int", min=1, max=255, default=100}]
[[control_adapter]]
id = "tiny_control"
entry = "main:TinyControl"
[[setting]]
id = "loud"
type = "bool"
[[accordion]]
label = "Canny"
tabs = ["txt2img"]
fields = [{id="strength", type="float", max=1}]
models = ["net"]
when = ["strength"]
[[route]]
name = "hello"
entry = "main:hello"
"""
)


def fault_of(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text)
    return caught.value.message


def test_everything_that_can_be_said_is_read():
    manifest = parse_manifest(FULL)
    assert (manifest.id, manifest.entry, manifest.hooks) == ("canny_demo", "pkg.main", ("open_pass", "job_done"))
    assert manifest.dependencies.extensions == ("pose>=1.2",)
    assert (manifest.order.after, manifest.order.before, manifest.order.order) == (("pose",), ("lines",), -3)
    assert manifest.permissions.network
    assert not manifest.permissions.write
    assert [part.file for part in manifest.models[1].parts] == ["config.json", "model.safetensors"]
    spec = manifest.preprocessors[0]
    assert (spec.id, spec.label, spec.resolution, spec.models) == ("canny", "Canny", 512, ("net",))
    assert [(param.id, param.default) for param in spec.params] == [("low", 100)]
    assert manifest.adapters[0].label == "Tiny control"
    assert [field.id for field in manifest.fields] == ["strength"]
    assert (manifest.accordions[0].models, manifest.accordions[0].when) == (("net",), ("strength",))
    assert manifest.routes[0].entry == "main:hello"


def test_a_minimal_manifest_gets_the_defaults():
    manifest = parse_manifest(HEAD)
    assert (manifest.entry, manifest.hooks, manifest.order.order, manifest.preprocessors) == ("main", (), 0, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + 'licence = "MIT"', 'extension.toml, [extension]: unknown key "licence" (did you mean "license"?).'),
        (HEAD + "[ordr]\nafter = []", 'extension.toml: there is no table "ordr" (did you mean "order"?).'),
        ('id = "x"', 'extension.toml: there is no table "id".'),
        ("", "extension.toml has no table [extension]."),
        ('[extension]\nid = "canny"', 'extension.toml: "name" is missing.'),
        (HEAD + "[order]\nafer = []", 'extension.toml, order: unknown key "afer" (did you mean "after"?).'),
        (
            CANNY + 'param = [{id="low", type="int", mx=3}]',
            'extension.toml, preprocessor "canny", param "low": unknown key "mx" (did you mean "max"?).',
        ),
        (
            CANNY + 'param = [{id="low", type="int", max=3, default=9}]',
            'extension.toml, preprocessor "canny", param "low": its default is 9 but must be at most 3.',
        ),
        (
            HEAD + '[[preprocessor]]\nentry = "main:canny"',
            'extension.toml, preprocessor number 1: "id" is missing.',
        ),
        (
            HEAD + 'hooks = ["befor_unet"]',
            'extension.toml, hooks number 1: there is no hook "befor_unet" (did you mean "before_unet"?).',
        ),
        (HEAD + 'hooks = ["open_pass", "open_pass"]', 'extension.toml: hook "open_pass" stands there twice.'),
        (
            HEAD + '[[model]]\nid = "net"\nfile = "../net.pt"',
            'extension.toml, model "net", file: "../net.pt" is no path inside the folder.',
        ),
        (
            HEAD + '[[model]]\nid = "net"\nfile = "C:\\\\net.pt"',
            'extension.toml, model "net", file: "C:\\net.pt" is no path inside the folder.',
        ),
        (
            CANNY + 'models = ["net"]',
            'extension.toml: preprocessor "canny" needs the model "net", which no [[model]] declares.',
        ),
        (
            HEAD + '[[accordion]]\nlabel = "Rank"\nfields = [{id="on", type="bool"}]\nmodels = ["net"]',
            'extension.toml: accordion "Rank": "net" is neither a [[model]] nor a field of it.',
        ),
        (
            HEAD + '[[accordion]]\nlabel = "Rank"\nfields = [{id="on", type="bool"}]\nwhen = ["off"]',
            'extension.toml: accordion "Rank": "off" is no field of it.',
        ),
        (
            HEAD + '[dependencies]\npackages = ["numpy=2"]',
            'extension.toml, dependencies, packages number 1: "numpy=2" is no requirement, such as numpy>=2.',
        ),
        (
            HEAD + '[[setting]]\nid = "paper"\ntype = "image"',
            'extension.toml: "paper" is a picture, which only the fields of an accordion can be.',
        ),
        (HEAD.replace("1.0.0", "one"), 'extension.toml, version: "one" is no version, such as 1.0.0.'),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_its_place(text: str, message: str):
    assert fault_of(text) == message


@pytest.mark.parametrize("id", ["", "a", "Canny", "1canny", "canny-demo", "../canny", "c" * 41])
def test_an_id_is_a_short_lower_case_word(id: str):
    assert fault_of(HEAD.replace("canny_demo", id)).startswith("extension.toml, id: ")


@pytest.mark.parametrize("entry", ["main", "main:", "os.system('x')", "..main:f", "main:f()", "class:f"])
def test_an_entry_is_a_module_and_a_name(entry: str):
    fault_of(HEAD + f'[[route]]\nname = "hello"\nentry = "{entry}"')


def test_broken_toml_names_its_line():
    assert "line 7" in fault_of(HEAD + "\n[order\n")


def test_a_folder_without_a_manifest_says_so(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"There is no extension.toml\."):
        read_manifest(tmp_path)


def test_a_manifest_that_is_no_text_says_so(tmp_path: Path):
    (tmp_path / "extension.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)
