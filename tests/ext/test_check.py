"""`ext check` tells an author what is wrong before a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ext.folders import write_extension
from webui.ext.check import check_extension
from webui.ext.discover import HOME

INSIDE = "is the program's inside; extensions import from webui.ext alone."
ADAPTER = '[[control_adapter]]\nid = "net"\nentry = "main:Net"\n'
CANNY = '[[preprocessor]]\nid = "canny"\nentry = "main:canny"\nparam = [{id="low", type="int"}]\n'


def test_a_good_extension_has_no_faults(tmp_path: Path):
    main = "import json\nimport numpy as np\nfrom webui.ext import Map\nfrom . import helpers\n"
    code = f"{main}def canny(image, *, low, ctx): return Map(image)\ndef open_pass(p): yield\n"
    folder = write_extension(
        tmp_path,
        "one",
        code,
        head='hooks = ["open_pass"]',
        tables=CANNY,
        files={"helpers.py": "from .main import np\n"},
    )
    assert check_extension(folder) == ()


@pytest.mark.parametrize(
    ("main", "tables", "fault"),
    [
        ("a = (\n", "", "It cannot be imported: SyntaxError: '(' was never closed (main.py:1)."),
        (
            "def opn_pass(p): yield\n", "",
            'the hook "open_pass" is listed, but main has no such function (did you mean "opn_pass"?).',
        ),
        ("def open_pass(p): yield\n", CANNY, 'preprocessor "canny": main:canny is no function.'),
        (
            "def open_pass(p): yield\nclass Net: pass\n", ADAPTER,
            'control adapter "net": main:Net is no subclass of ControlAdapter.',
        ),
        ("def open_pass(p): yield\n", '[[route]]\nname = "r"\nentry = "main:r"\n', 'route "r": main:r is no function.'),
        (
            "def open_pass(p): yield\n", "[order]\nafer = []",
            'extension.toml, order: unknown key "afer" (did you mean "after"?).',
        ),
        ("", '[dependencies]\npackages = ["numpy<2"]', None),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_one_line(tmp_path: Path, main: str, tables: str, fault: str | None):
    folder = write_extension(tmp_path, "one", main, head='hooks = ["open_pass"]', tables=tables)
    faults = check_extension(folder)
    assert len(faults) == 1
    assert faults[0] == fault if fault else faults[0].startswith("It would be blocked: wants numpy<2, installed is ")


def test_a_parameter_that_the_function_does_not_take_is_told(tmp_path: Path):
    folder = write_extension(tmp_path, "one", "def canny(image, *, lo): pass\n", tables=CANNY)
    (fault,) = check_extension(folder)
    assert fault.startswith('preprocessor "canny": main:canny does not take what the manifest declares (')


def test_an_adapter_must_have_every_method(tmp_path: Path):
    main = "from webui.ext import ControlAdapter\nclass Net(ControlAdapter): pass\n"
    (fault,) = check_extension(write_extension(tmp_path, "one", main, tables=ADAPTER))
    assert fault.startswith('control adapter "net": main:Net has no load, ')


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("import webui.nn.unet", f"main.py:1: webui.nn.unet {INSIDE}"),
        ("from webui.engine import engine", f"main.py:1: webui.engine {INSIDE}"),
        ("import helpers", "main.py:1: write `from . import helpers`: extensions are not on Python's path."),
        ("def f():\n    import scipy", "main.py:2: scipy is not declared in [dependencies] packages."),
    ],
)  # fmt: skip
def test_imports_are_looked_at(tmp_path: Path, line: str, fault: str):
    folder = write_extension(tmp_path, "one", f"{line}\n", files={"helpers.py": ""})
    assert check_extension(folder)[0] == fault


def test_a_declared_package_may_be_imported(tmp_path: Path):
    main = "def f():\n    import scipy, PIL, markupsafe\n"
    tables = '[dependencies]\npackages = ["scipy>=1", "MarkupSafe"]'
    assert check_extension(write_extension(tmp_path, "one", main, tables=tables)) == ()


@pytest.mark.parametrize("folder", sorted(HOME.iterdir() if HOME.is_dir() else []), ids=lambda folder: folder.name)
def test_what_comes_with_the_program_passes(folder: Path):
    assert check_extension(folder) == ()
