"""What `extension.toml` says: an extension is listed, configured and shown without importing any of its code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError, model_validator

from webui.ext.params import Param, Strict, suggest, values_of
from webui.ext.specs import (
    AccordionSpec,
    AdapterSpec,
    Dependencies,
    HookName,
    Id,
    Line,
    ModelFile,
    ModelPart,
    Module,
    Order,
    Permissions,
    PreprocessorSpec,
    Range,
    RouteSpec,
    VersionText,
)  # fmt: skip
from webui.schema.errors import ManifestError

__all__ = [
    "MANIFEST", "AccordionSpec", "AdapterSpec", "Dependencies", "Manifest", "ModelFile", "ModelPart", "Order", "Param",
    "Permissions", "PreprocessorSpec", "RouteSpec", "parse_manifest", "read_manifest", "values_of",
]  # fmt: skip

MANIFEST: Final = "extension.toml"
_LARGEST = 1_000_000


class Head(Strict):
    """The table [extension]."""

    id: Id
    name: Line
    version: VersionText
    api: str = Field(pattern=r"^\d{1,4}(\.\d{1,4})?$")
    description: str = ""
    authors: tuple[str, ...] = ()
    license: str = ""
    homepage: str = ""
    entry: Module = "main"
    python: Range = ""
    webui: Range = ""
    hooks: tuple[HookName, ...] = ()


class Manifest(Head):
    """All of `extension.toml`. `settings` are fields of the settings page, `accordions` fields of the tabs."""

    dependencies: Dependencies = Dependencies()
    order: Order = Order()
    permissions: Permissions = Permissions()
    models: tuple[ModelFile, ...] = Field((), alias="model")
    preprocessors: tuple[PreprocessorSpec, ...] = Field((), alias="preprocessor")
    adapters: tuple[AdapterSpec, ...] = Field((), alias="control_adapter")
    settings: tuple[Param, ...] = Field((), alias="setting")
    accordions: tuple[AccordionSpec, ...] = Field((), alias="accordion")
    routes: tuple[RouteSpec, ...] = Field((), alias="route")

    @model_validator(mode="after")
    def _names_once(self) -> Manifest:
        for what, names in _names(self).items():
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f'{what} "{twice}" stands there twice')
        for param in (*self.settings, *(param for spec in self.preprocessors for param in spec.params)):
            if param.type == "image":
                raise ValueError(f'"{param.id}" is a picture, which only the fields of an accordion can be')
        return self

    @model_validator(mode="after")
    def _names_that_are_there(self) -> Manifest:
        declared = {model.id for model in self.models}
        for spec in self.preprocessors:
            if missing := [model for model in spec.models if model not in declared]:
                raise ValueError(
                    f'preprocessor "{spec.id}" needs the model "{missing[0]}", which no [[model]] declares'
                )
        for one in self.accordions:
            fields = {field.id for field in one.fields}
            if missing := [word for word in one.models if word not in declared | fields]:
                raise ValueError(f'accordion "{one.label}": "{missing[0]}" is neither a [[model]] nor a field of it')
            if missing := [word for word in one.when if word not in fields]:
                raise ValueError(f'accordion "{one.label}": "{missing[0]}" is no field of it')
        return self

    @property
    def fields(self) -> tuple[Param, ...]:
        """The parameters of a request's `ext[id]`: the fields of all accordions."""
        return tuple(field for accordion in self.accordions for field in accordion.fields)


def _names(manifest: Manifest) -> dict[str, list[str]]:
    """What must be told apart by name, in words -> the names. A field may stand in accordions of different tabs."""
    names = {
        "hook": list(manifest.hooks),
        "model": [model.id for model in manifest.models],
        "preprocessor": [spec.id for spec in manifest.preprocessors],
        "control adapter": [spec.id for spec in manifest.adapters],
        "setting": [param.id for param in manifest.settings],
        "route": [route.name for route in manifest.routes],
        "field": [field.id for field in manifest.fields],
    }
    parameters = {f'parameter of "{spec.id}"': [param.id for param in spec.params] for spec in manifest.preprocessors}
    return {**names, **parameters}


_TABLES: Final[Mapping[str, type[Strict]]] = {
    "extension": Head, "dependencies": Dependencies, "order": Order, "permissions": Permissions, "model": ModelFile,
    "preprocessor": PreprocessorSpec, "control_adapter": AdapterSpec, "setting": Param, "accordion": AccordionSpec,
    "route": RouteSpec, "param": Param, "fields": Param, "part": ModelPart,
}  # fmt: skip
_INNER = ("extension", "param", "fields", "part")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an extension's folder.

    Raises:
        ManifestError: in one line; a word that is not known comes with the one that was perhaps meant.
    """
    return parse_manifest(_text(folder / MANIFEST))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ManifestError(f"{MANIFEST} is larger than {_LARGEST:,} bytes.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ManifestError(f"There is no {MANIFEST}.", "Extensions of other programs do not work here.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{MANIFEST} cannot be read: {error}.") from None


def parse_manifest(text: str) -> Manifest:
    """The manifest that this text holds. Raises ManifestError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{MANIFEST} is not well-formed: {error}.") from None
    known = [name for name in _TABLES if name not in _INNER[1:]]
    if unknown := [name for name in tables if name not in known]:
        raise ManifestError(f'{MANIFEST}: there is no table "{unknown[0]}"{suggest(unknown[0], known)}.')
    head = tables.pop("extension", None)
    if not isinstance(head, dict):
        raise ManifestError(f"{MANIFEST} has no table [extension].")
    if foreign := [name for name in head if name not in Head.model_fields]:
        raise ManifestError(
            f'{MANIFEST}, [extension]: unknown key "{foreign[0]}"{suggest(foreign[0], Head.model_fields)}.'
        )
    try:
        return Manifest.model_validate({**head, **tables})
    except ValidationError as error:
        raise ManifestError(f"{MANIFEST}{_sentence(error, {**head, **tables})}.") from None


def _sentence(error: ValidationError, data: Any) -> str:
    """The first thing that is wrong, and where: ', preprocessor "canny", param "low": unknown key ...'."""
    first = error.errors(include_url=False)[0]
    loc = list(first["loc"])
    missing_or_foreign = first["type"] in ("missing", "extra_forbidden")
    key = loc.pop() if missing_or_foreign else None
    where = "".join(f", {step}" for step in _steps(loc, data))
    if first["type"] == "extra_forbidden":
        table = next((_TABLES[str(step)] for step in reversed(loc) if str(step) in _TABLES), Head)
        known = [field.alias or name for name, field in table.model_fields.items()]
        return f'{where}: unknown key "{key}"{suggest(str(key), known)}'
    if first["type"] == "missing":
        return f'{where}: "{key}" is missing'
    message = str(first["msg"]).removeprefix("Value error, ")
    given = (
        "" if first["type"] == "value_error" or isinstance(first["input"], (dict, list)) else f": {first['input']!r}"
    )
    return f"{where}: {message}{given}"


def _steps(loc: list[Any], data: Any) -> Iterator[str]:
    """The way to a fault in words; items of lists are named by their id where they have one."""
    word = ""
    for step in loc:
        if isinstance(step, str) and not (isinstance(data, dict) and step in data):
            continue  # a branch of a union, which the author did not write
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = None
        if isinstance(step, int):
            name = data.get("id", data.get("name", data.get("label"))) if isinstance(data, dict) else None
            yield f'{word} "{name}"' if name else f"{word} number {step + 1}"
            word = ""
        else:
            if word:
                yield word
            word = step
    if word:
        yield word
