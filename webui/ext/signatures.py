"""Compares the functions and classes of an extension with its manifest and with the hook points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from webui.ext.hooks import HOOKS, Hook, hook_named
from webui.ext.manifest import Manifest, PreprocessorSpec
from webui.ext.params import suggest


def hook_faults(manifest: Manifest, module: ModuleType) -> Iterator[str]:
    """What does not fit between the hooks that a manifest lists and the functions of its entry module."""
    own = {name for name, thing in vars(module).items() if callable(thing) and _defined_in(thing, module)}
    for name in manifest.hooks:
        hook = hook_named(name)
        if name not in own:
            yield f'the hook "{name}" is listed, but {manifest.entry} has no such function{suggest(name, own)}'
        elif hook is not None and (fault := hook_fault(hook, getattr(module, name))):
            yield fault
    for hook in HOOKS:
        if hook.name in own and hook.name not in manifest.hooks:
            yield f'{manifest.entry} has the hook "{hook.name}", which the manifest does not list'


def _defined_in(thing: Any, module: ModuleType) -> bool:
    """Of the module itself or of one beside it: what comes from a library is no hook."""
    home = str(getattr(thing, "__module__", ""))
    return home.startswith(module.__name__.rpartition(".")[0])


def hook_fault(hook: Hook, function: Callable[..., Any]) -> str:
    """Why a function cannot serve as this hook; "" where it can."""
    wanted = len(hook.argument.split(", "))
    try:
        inspect.signature(function).bind(*range(wanted))
    except TypeError:
        return f"{hook.name} must take {hook.argument}: def {hook.signature}"
    if hook.generator != inspect.isgeneratorfunction(inspect.unwrap(function)):
        return f"{hook.name} must {'hold one' if hook.generator else 'not hold a'} yield"
    return ""


def preprocessor_fault(spec: PreprocessorSpec, function: Any) -> str:
    """Why a function cannot serve as this preprocessor; "" where it can."""
    if not callable(function):
        return f'preprocessor "{spec.id}": {spec.entry} is no function'
    given: Mapping[str, Any] = {param.id: None for param in spec.params}
    extra = {"ctx": None} if asks_for(function, "ctx") else {}
    try:
        inspect.signature(function).bind(None, **given, **extra)
    except TypeError as error:
        return f'preprocessor "{spec.id}": {spec.entry} does not take what the manifest declares ({error})'
    return ""


def asks_for(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of this name."""
    return name in inspect.signature(function).parameters
