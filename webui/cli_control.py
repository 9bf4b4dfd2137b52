"""Control units and values of extensions on the command line of `generate`. Nothing is declared here: units come from
`ControlUnit`, the options of extensions from their manifests."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.checkpoints.places import Places
from webui.ext.discover import HOME
from webui.ext.params import Param
from webui.images.read import read_image
from webui.runtime.extensions import Extensions
from webui.runtime.steering import Steering
from webui.schema.control import ControlUnit
from webui.schema.errors import BadRequest
from webui.schema.fields import parameters
from webui.server.options import ROOT

PICTURES = ("image", "mask", "region_mask")


@dataclass
class Steered:
    """What the options say, as fields of a request; pictures: the files that its units name."""

    control: list[dict[str, Any]] = field(default_factory=list)
    ext: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)


def add_folder_options(parser: argparse._ActionsContainer) -> None:
    """Where extensions and the user's choices are; read before the other options are known (`extensions_of`)."""
    parser.add_argument(
        "--extensions-dir", type=Path, action="append", default=[], metavar="DIR",
        help="a further folder of extensions; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / "data", metavar="DIR",
        help="the program's own data: which extensions are on (default: data)",
    )  # fmt: skip


def extensions_of(arguments: Sequence[str]) -> Extensions:
    """The extensions that these arguments mean."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_folder_options(first)
    parsed, _rest = first.parse_known_args(arguments)
    return Extensions((HOME, *parsed.extensions_dir), parsed.data_dir)


def add_steering_options(parser: argparse.ArgumentParser, extensions: Extensions) -> None:
    """`--control`, and an option for each field that an extension declares."""
    names = [declared.name for declared in parameters(ControlUnit)]
    group = parser.add_argument_group("control units")
    group.add_argument(
        "--control", nargs="+", action="append", default=[], metavar="NAME=VALUE",
        help="a control unit; may be repeated. Names: image, mask, region_mask (files), "
        f"{', '.join(names)}, and the parameters of its preprocessor. "
        "Example: --control image=ball.png preprocessor=canny model=toybox-canny weight=0.8 low=50",
    )  # fmt: skip
    for manifest in extensions.ready:
        if manifest.fields:
            own = parser.add_argument_group(f"extension {manifest.name}")
            for param in manifest.fields:
                own.add_argument(_option(manifest.id, param), metavar="VALUE", help=_describe(param))


def read_steering(parsed: argparse.Namespace, extensions: Extensions) -> Steered:
    """The units and extension values of the options.

    Raises:
        BadRequest: names the option that is wrong. BadImage: a file is no picture.
    """
    steered = Steered()
    for number, words in enumerate(parsed.control, 1):
        steered.control.append(_unit(number, words, extensions, steered.pictures))
    for manifest in extensions.ready:
        given = ((param, getattr(parsed, _destination(manifest.id, param), None)) for param in manifest.fields)
        values = {param.id: _value(param, text, steered.pictures) for param, text in given if text is not None}
        if values:
            steered.ext[manifest.id] = values
    return steered


def steering_of(extensions: Extensions, places: Places) -> Steering:
    """What checks the units of a request."""
    catalogue = Catalogue(places)
    return Steering(ControlCatalogue(places, catalogue.memory), extensions, catalogue)


def _unit(number: int, words: Sequence[str], extensions: Extensions, pictures: list[bytes]) -> dict[str, Any]:
    pairs = dict(_pair(number, word) for word in words)
    unit: dict[str, Any] = {name: _picture(Path(pairs.pop(name)), pictures) for name in PICTURES if name in pairs}
    unit |= {name: pairs.pop(name) for name in list(pairs) if name in ControlUnit.model_fields and name != "params"}
    if "layer_weights" in unit:
        unit["layer_weights"] = unit["layer_weights"].split(",")
    found = extensions.preprocessors.get(unit.get("preprocessor", ""))
    declared = {param.id: param for param in found[1].params} if found else {}
    unit["params"] = {name: declared[name].parse(text) if name in declared else text for name, text in pairs.items()}
    return unit


def _pair(number: int, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise BadRequest(f"--control {number}: {word!r} is not NAME=VALUE.", "Write for example weight=0.8.")
    return name.replace("-", "_"), value


def _value(param: Param, text: str, pictures: list[bytes]) -> Any:
    """What an option of an extension says; of a picture its file is given."""
    return _picture(Path(text), pictures) if param.type == "image" else param.parse(text)


def _picture(path: Path, pictures: list[bytes]) -> dict[str, str]:
    read_image(path)
    data = path.read_bytes()
    pictures.append(data)
    return {"sha256": hashlib.sha256(data).hexdigest()}


def _option(id: str, param: Param) -> str:
    return f"--ext-{id}-{param.id}".replace("_", "-")


def _destination(id: str, param: Param) -> str:
    return _option(id, param).removeprefix("--").replace("-", "_")


def _describe(param: Param) -> str:
    parts = [f"{param.label}. {param.help}".strip()]
    if param.choices:
        parts.append(f"One of: {', '.join(param.choices)}.")
    if param.type == "image":
        return " ".join([*parts, "A file."]).replace("%", "%%")
    if param.min is not None and param.max is not None:
        parts.append(f"{param.min:g} to {param.max:g}.")
    return " ".join([*parts, f"Default: {param.default}."]).replace("%", "%%")
