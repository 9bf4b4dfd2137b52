"""Extensions are packages of their own: no shared names, no bytecode, nothing left after unloading."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ext.folders import write_extension
from webui.ext.loader import Loader, describe, package_of


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.close()


def test_two_extensions_may_have_a_helper_of_the_same_name(tmp_path: Path, loader: Loader):
    for id in ("one", "two"):
        write_extension(tmp_path, id, "from .helpers import WHO\n", files={"helpers.py": f'WHO = "{id}"\n'})
    modules = {id: loader.load(id, tmp_path / id, "main") for id in ("one", "two")}
    assert {id: module.WHO for id, module in modules.items()} == {"one": "one", "two": "two"}
    assert modules["one"].__name__ == "webui_ext.one.main"


def test_the_path_of_python_stays_as_it_is(tmp_path: Path, loader: Loader):
    write_extension(tmp_path, "one", "from . import helpers\n", files={"helpers.py": ""})
    before = list(sys.path)
    loader.load("one", tmp_path / "one", "main")
    assert sys.path == before
    with pytest.raises(ImportError):
        __import__("helpers")


def test_folders_within_an_extension_are_packages(tmp_path: Path, loader: Loader):
    files = {"parts/__init__.py": "from .deep import A\n", "parts/deep.py": "A = 3\n", "bare/b.py": "B = 4\n"}
    write_extension(tmp_path, "one", "from .parts import A\nfrom .bare.b import B\n", files=files)
    module = loader.load("one", tmp_path / "one", "main")
    assert (module.A, module.B) == (3, 4)


def test_an_init_file_is_run_first(tmp_path: Path, loader: Loader):
    write_extension(tmp_path, "one", "from . import A\n", files={"__init__.py": "A = 3\n"})
    assert loader.load("one", tmp_path / "one", "main").A == 3


def test_a_late_import_inside_a_function_works(tmp_path: Path, loader: Loader):
    main = "def late():\n    from .net import N\n    return N\n"
    write_extension(tmp_path, "one", main, files={"net.py": "N = 5\n"})
    assert loader.load("one", tmp_path / "one", "main").late() == 5


def test_no_bytecode_is_written_or_read(tmp_path: Path, loader: Loader):
    folder = write_extension(tmp_path, "one", "A = 1\n")
    assert loader.load("one", folder, "main").A == 1
    assert not (folder / "__pycache__").exists()


def test_an_edit_of_the_same_size_in_the_same_second_is_seen(tmp_path: Path, loader: Loader):
    folder = write_extension(tmp_path, "one", "A = 1\n")
    stamp = (folder / "main.py").stat()
    loader.load("one", folder, "main")
    loader.unload("webui_ext.one")
    (folder / "main.py").write_text("A = 2\n")
    os.utime(folder / "main.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert loader.load("one", folder, "main").A == 2


def test_a_file_that_is_new_is_found_at_once(tmp_path: Path, loader: Loader):
    folder = write_extension(tmp_path, "one", "def late():\n    from .new import N\n    return N\n")
    stamp = folder.stat()
    module = loader.load("one", folder, "main")
    with pytest.raises(ImportError):
        module.late()
    (folder / "new.py").write_text("N = 1\n")
    os.utime(folder, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert module.late() == 1


def test_unloading_frees_the_module(tmp_path: Path, loader: Loader):
    write_extension(tmp_path, "one", "from . import helpers\nclass Thing: pass\n", files={"helpers.py": ""})
    module = loader.load("one", tmp_path / "one", "main")
    alive = [weakref.ref(module), weakref.ref(module.helpers), weakref.ref(module.Thing)]
    del module
    loader.unload("webui_ext.one")
    gc.collect()
    assert [one() for one in alive] == [None, None, None]
    assert [name for name in sys.modules if name.startswith("webui_ext.")] == []


def test_a_failed_import_leaves_nothing(tmp_path: Path, loader: Loader):
    write_extension(tmp_path, "one", "from . import helpers\nimport no_such_package\n", files={"helpers.py": ""})
    with pytest.raises(ImportError):
        loader.load("one", tmp_path / "one", "main")
    assert [name for name in sys.modules if name.startswith("webui_ext.one")] == []
    assert loader not in sys.meta_path


def test_two_hosts_may_hold_the_same_extension(tmp_path: Path, loader: Loader):
    write_extension(tmp_path, "one", "def late():\n    from .net import N\n    return N\n", files={"net.py": "N = 5\n"})
    other = Loader()
    first, second = (one.load("one", tmp_path / "one", "main") for one in (loader, other))
    assert first is not second
    loader.unload(package_of(first))
    assert second.late() == 5
    other.close()
    assert not {loader, other} & set(sys.meta_path)


def test_an_error_names_the_last_line_of_the_extension_itself(tmp_path: Path, loader: Loader):
    main = "import json\nfrom .deep import go\ndef f():\n    go()\n"
    folder = write_extension(tmp_path, "one", main, files={"deep.py": "import json\ndef go():\n    json.loads('{')\n"})
    module = loader.load("one", folder, "main")
    with pytest.raises(ValueError, match="Expecting") as caught:
        module.f()
    assert describe(caught.value, folder).startswith("JSONDecodeError: Expecting property name")
    assert describe(caught.value, folder).endswith(" (deep.py:3)")


def test_a_syntax_error_names_its_own_line(tmp_path: Path, loader: Loader):
    files = {"deep.py": "a = 1\nb = (\n"}
    folder = write_extension(tmp_path, "one", "from . import deep\n", files=files)
    with pytest.raises(SyntaxError) as caught:
        loader.load("one", folder, "main")
    assert describe(caught.value, folder) == "SyntaxError: '(' was never closed (deep.py:2)"


def test_an_error_without_words_is_named_by_its_kind(tmp_path: Path):
    assert describe(KeyError(), tmp_path) == "KeyError"
    assert describe(ValueError("two\n  lines"), tmp_path) == "ValueError: two lines"
