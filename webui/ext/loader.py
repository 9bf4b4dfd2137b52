"""Imports an extension as a package of its own: `webui_ext.<id>`, found by nobody else, never from bytecode.

`sys.path` stays as it is: two extensions may both have a `helpers.py`. Bytecode is neither written nor read, because an
edit within the same second and of the same size would go unnoticed.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

PARENT: Final = "webui_ext"


class SourceOnly(SourceFileLoader):
    """Compiles the source each time it is asked."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


_KINDS: Final = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceOnly, [".py"]))


class Loader(MetaPathFinder):
    """The packages of one host. `close` takes it out of Python's list of finders again."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    def load(self, id: str, folder: Path, entry: str) -> ModuleType:
        """Import the module `entry` of an extension. Whatever it raises is passed on, and nothing stays behind."""
        package = self._name(id)
        self._folders[package] = folder.resolve()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        _parent()
        try:
            return importlib.import_module(f"{package}.{entry}")
        except BaseException:
            self.unload(package)
            raise

    def module(self, main: ModuleType, name: str) -> ModuleType:
        """Another module of the extension whose entry module is `main`."""
        return importlib.import_module(f"{package_of(main)}.{name}")

    def unload(self, package: str) -> None:
        """Forget a package and its modules; they are freed unless somebody else holds them."""
        self._folders.pop(package, None)
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        vars(_parent()).pop(package.rpartition(".")[2], None)
        if not self._folders and self in sys.meta_path:
            sys.meta_path.remove(self)
        gc.collect()

    def close(self) -> None:
        for package in list(self._folders):
            self.unload(package)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python asks this for every import; only our own packages are answered."""
        if fullname in self._folders:
            return _package_spec(fullname, self._folders[fullname])
        if not any(fullname.startswith(f"{package}.") for package in self._folders):
            return None
        specs = [FileFinder(entry, *_KINDS).find_spec(fullname) for entry in path or ()]
        return next((spec for spec in specs if spec is not None), None)

    def _name(self, id: str) -> str:
        """`webui_ext.<id>`; with a number where another host of this process has the same extension loaded."""
        names = (f"{PARENT}.{id}" + (f"__{number}" if number else "") for number in range(1000))
        return next(name for name in names if name not in sys.modules)


def package_of(module: ModuleType) -> str:
    """ "webui_ext.canny.main" -> "webui_ext.canny"."""
    return ".".join(module.__name__.split(".")[:2])


def _parent() -> ModuleType:
    """The package that all extensions live in. It has no file and no content of its own."""
    if PARENT not in sys.modules:
        parent = ModuleType(PARENT)
        parent.__path__ = []
        sys.modules[PARENT] = parent
    return sys.modules[PARENT]


def _package_spec(name: str, folder: Path) -> ModuleSpec | None:
    """The folder itself as a package; its `__init__.py` is run if there is one."""
    init = folder / "__init__.py"
    if init.is_file():
        return spec_from_file_location(
            name, init, loader=SourceOnly(name, str(init)), submodule_search_locations=[str(folder)]
        )
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def place_of(error: BaseException, folder: Path) -> str:
    """ "main.py:12": where in the extension's own code an error arose; "" where none of it took part."""
    if isinstance(error, SyntaxError) and error.filename and (name := _within(error.filename, folder)):
        return f"{name}:{error.lineno}"
    places = []
    trace = error.__traceback__
    while trace is not None:
        if name := _within(trace.tb_frame.f_code.co_filename, folder):
            places.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-1] if places else ""


def describe(error: BaseException, folder: Path) -> str:
    """ "ValueError: no such thing (main.py:12)"."""
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    place = place_of(error, folder)
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{said} ({place})" if place else said


def _within(filename: str, folder: Path) -> str:
    try:
        return Path(filename).resolve().relative_to(folder.resolve()).as_posix()
    except (ValueError, OSError):
        return ""
