"""The small values that a manifest is made of, each checked when it is read."""

from __future__ import annotations

import keyword
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webui.ext.hooks import HOOKS
from webui.ext.params import Param, Strict, Word, suggest


def _version(text: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError(f'"{text}" is no version, such as 1.0.0') from None
    return text


def _range(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f'"{text}" is no version range, such as >=3.11') from None
    return text


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement:
        raise ValueError(f'"{text}" is no requirement, such as numpy>=2') from None
    return text


def _hook(name: str) -> str:
    known = [hook.name for hook in HOOKS]
    if name not in known:
        raise ValueError(f'there is no hook "{name}"{suggest(name, known)}')
    return name


def _inside(path: str) -> str:
    pure, windows = PurePosixPath(path), PureWindowsPath(path)
    if not path or pure.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in path:
        raise ValueError(f'"{path}" is no path inside the folder')
    return path


def _label(given: Any) -> Any:
    """A label is made of the id where none is given."""
    if isinstance(given, dict) and not given.get("label"):
        return {**given, "label": str(given.get("id", "")).replace("_", " ").capitalize()}
    return given


def _importable(name: str) -> str:
    if any(keyword.iskeyword(part) for part in name.replace(":", ".").split(".")):
        raise ValueError(f'"{name}" holds a word that Python keeps for itself')
    return name


Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"), AfterValidator(_importable)]
Entry = Annotated[
    str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"), AfterValidator(_importable)
]  # "module:function"
Inside = Annotated[str, AfterValidator(_inside)]
VersionText = Annotated[str, AfterValidator(_version)]
Range = Annotated[str, AfterValidator(_range)]
HookName = Annotated[str, AfterValidator(_hook)]
PackageName = Annotated[str, AfterValidator(_requirement)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
MapKind = Literal["edges", "soft", "depth", "normal", "seg", "pose", "image", "mask", "embedding"]
Tab = Literal["txt2img", "img2img", "inpaint"]


class ModelPart(Strict):
    """One file of a model that is a folder. file: its path in that folder."""

    file: Inside
    url: str = ""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    bytes: int = Field(0, ge=0)


class ModelFile(Strict):
    """Weights that the core fetches on the user's word.

    file: its place below models/ControlNetPreprocessor, a folder where parts are given. repository: where it comes
    from, for people. megabytes: about how much is fetched, told to people before; bytes: exactly, and checked.
    """

    id: Word
    file: Inside
    url: str = ""
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    bytes: int = Field(0, ge=0)
    megabytes: int = Field(0, ge=0)
    license: str = ""
    repository: str = ""
    parts: tuple[ModelPart, ...] = Field((), alias="part")


class PreprocessorSpec(Strict):
    """A function that turns a picture into a map. resolution: whether it is asked at which, or the default one. kind
    selects how its maps are resampled. models: ids of the files it needs. uses: ids of preprocessors that it calls, or
    of parameters that name one. alone: units act by it through the hooks of its extension, without a control model.
    picture: whether the map follows from one; else the function is given black where the unit has none. family: of the
    checkpoints whose pictures it is made for; the page offers it first with these, and with others never first."""

    id: Word
    label: Line
    group: str = ""
    entry: Entry
    kind: MapKind = "image"
    resolution: bool | Annotated[int, Field(ge=64, le=2048)] = True
    params: tuple[Param, ...] = Field((), alias="param")
    models: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    alone: bool = False
    picture: bool = True
    family: str = ""
    help: str = ""

    _fill = model_validator(mode="before")(_label)


class AdapterSpec(Strict):
    """A class that reads one kind of control file."""

    id: Word
    label: Line
    entry: Entry

    _fill = model_validator(mode="before")(_label)


class AccordionSpec(Strict):
    """Fields that the page shows in these tabs; their values arrive as `request.ext[id]`. models: ids of the files that
    a request needs, or of fields that name one by its id or its place. when: fields; the files are needed only where
    one of these is on."""

    label: Line
    tabs: tuple[Tab, ...] = Field(("txt2img", "img2img", "inpaint"), min_length=1)
    fields: tuple[Param, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    when: tuple[str, ...] = ()


class RouteSpec(Strict):
    """A function behind `POST /api/v1/ext/<id>/<name>`."""

    name: Word
    entry: Entry


class Dependencies(Strict):
    """packages: PEP 508. The others: ids, with a version range if wanted ("canny>=1.2")."""

    packages: tuple[PackageName, ...] = ()
    extensions: tuple[PackageName, ...] = ()
    optional: tuple[PackageName, ...] = ()
    conflicts: tuple[PackageName, ...] = ()


class Order(Strict):
    """Where the extension stands among the others: after and before these ids, then by `order`, then by id."""

    after: tuple[Id, ...] = ()
    before: tuple[Id, ...] = ()
    order: int = 0


class Permissions(Strict):
    """What the extension says it does. Shown to the user; nothing enforces it."""

    network: bool = False
    subprocess: bool = False
    write: bool = False
