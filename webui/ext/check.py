"""What an author is told of an extension before anybody runs it: `launch.py ext check FOLDER`. Imports its code."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from webui.ext.discover import unfit
from webui.ext.loader import Loader, describe
from webui.ext.manifest import AdapterSpec, Manifest, read_manifest
from webui.ext.signatures import hook_faults, preprocessor_fault
from webui.schema.errors import ManifestError

GUARANTEED: Final = {"numpy", "torch", "cv2", "PIL", "transformers", "safetensors", "webui"}
"""What API 1 promises to be there."""


def check_extension(folder: Path) -> tuple[str, ...]:
    """Everything that is wrong with an extension, a line each; nothing where all is well."""
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        return (str(error),)
    if reason := unfit(manifest):
        return (f"It would be blocked: {reason}.",)
    return (*_imports(manifest, folder), *_code(manifest, folder))


def _imports(manifest: Manifest, folder: Path) -> Iterator[str]:
    """Imports of the program's inside, of the extension by its own name, and of packages that nobody declared."""
    declared = {Requirement(text).name.lower().replace("_", "-") for text in manifest.dependencies.packages}
    homes = importlib.metadata.packages_distributions()
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        if place.parts[0] == "tests" or "__pycache__" in place.parts:
            continue
        for line, name in _imported(path):
            top = name.split(".")[0]
            if top == "webui" and not (name + ".").startswith("webui.ext."):
                yield f"{place}:{line}: {name} is the program's inside; extensions import from webui.ext alone."
            elif (folder / top).is_dir() or (folder / f"{top}.py").is_file():
                yield f"{place}:{line}: write `from . import {top}`: extensions are not on Python's path."
            elif top not in GUARANTEED and top not in sys.stdlib_module_names:
                packages = {package.lower().replace("_", "-") for package in homes.get(top, [top])}
                if not packages & declared:
                    yield f"{place}:{line}: {top} is not declared in [dependencies] packages."


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full name) of all absolute imports of a file; nothing where it cannot be parsed, which importing tells."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, str(node.module)


def _code(manifest: Manifest, folder: Path) -> Iterator[str]:
    """Import the extension and compare its functions and classes with the manifest."""
    loader = Loader()
    try:
        main = loader.load(manifest.id, folder, manifest.entry)
        yield from (f"{fault}." for fault in hook_faults(manifest, main))

        def thing(entry: str) -> Any:
            module, _, name = entry.partition(":")
            return getattr(loader.module(main, module), name, None)

        for spec in manifest.preprocessors:
            if fault := preprocessor_fault(spec, thing(spec.entry)):
                yield f"{fault}."
        for adapter in manifest.adapters:
            yield from _adapter_faults(adapter, thing(adapter.entry))
        for route in manifest.routes:
            if not callable(thing(route.entry)):
                yield f'route "{route.name}": {route.entry} is no function.'
    except BaseException as error:  # SystemExit and KeyboardInterrupt too
        yield f"It cannot be imported: {describe(error, folder)}."
    finally:
        loader.close()


def _adapter_faults(spec: AdapterSpec, cls: Any) -> Iterator[str]:
    from webui.control.adapters import ControlAdapter

    if not (inspect.isclass(cls) and issubclass(cls, ControlAdapter)):
        yield f'control adapter "{spec.id}": {spec.entry} is no subclass of ControlAdapter.'
    elif missing := sorted(getattr(cls, "__abstractmethods__", ())):
        yield f'control adapter "{spec.id}": {spec.entry} has no {", ".join(missing)}.'
