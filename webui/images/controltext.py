"""Control units and extensions in a picture's text, twice: as sd-webui-controlnet writes them, for other programs, in
the last line of `parameters`,

    ControlNet 0: "Module: canny, Model: toybox-canny, Weight: 1, ..., Threshold A: 100, Threshold B: 200, ..."

and exactly, as JSON in a chunk of our own, which wins on reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

import webui
from webui.images.pairs import read_pairs, write_pairs
from webui.schema.control import MAX_UNITS, ControlUnit
from webui.schema.fields import Parameter, parameters

OWN_CHUNK = "webui"
Thresholds = Mapping[str, Sequence[str]]
"""Preprocessor -> the names of its numbers, in their order: the first is A1111's Threshold A, the second B."""
THRESHOLDS = ("Threshold A", "Threshold B")
NO_MODEL = "None"
ABSENT = "absent_ext"
Extensions = Mapping[str, Mapping[str, Any]]
_DECLARED = tuple(declared for declared in parameters(ControlUnit) if declared.infotext is not None)


@dataclass(frozen=True)
class Control:
    """What a picture says of its control units and of extensions; notes: what could not be taken over.

    ext: of extensions that took part; absent_ext: of those that had no part in it and were kept from another picture.
    """

    units: tuple[ControlUnit, ...] = ()
    ext: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent_ext: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def control_labels(units: Sequence[ControlUnit]) -> dict[str, str]:
    """Label -> value of every unit that acts."""
    return {f"ControlNet {index}": _unit_text(unit) for index, unit in enumerate(units) if unit.enabled}


def own_text(units: Sequence[ControlUnit], ext: Extensions, absent_ext: Extensions = MappingProxyType({})) -> str:
    """The JSON that tells units that act and extensions exactly; empty where there are none.

    absent_ext: values that are kept for extensions that had no part. They stand under a key of their own, so that the
    text stays true; an extension that took part is not among them.
    """
    acting = [unit.model_dump(mode="json", exclude_defaults=True) for unit in units if unit.enabled]
    kept = {id: values for id, values in absent_ext.items() if id not in ext}
    if not (acting or ext or kept):
        return ""
    told = {"app": f"atelier {webui.__version__}", "v": 1, "control": acting, "ext": ext}
    return json.dumps(told | ({ABSENT: kept} if kept else {}), ensure_ascii=True)


def read_control(fields: Mapping[str, str], chunk: str, thresholds: Thresholds) -> Control:
    """The units and extensions of a picture, from the chunk of our own, else from the labels of its text."""
    told = _parse(chunk)
    if told is not None:
        return _from_chunk(told)
    units: list[ControlUnit] = []
    notes: list[str] = []
    for index in range(MAX_UNITS):
        text = fields.get(f"ControlNet {index}")
        if text is not None:
            unit, told_of_it = _read_unit(dict(read_pairs(text)), thresholds)
            units += unit
            notes += [f"ControlNet {index}: {note}" for note in told_of_it]
    if units:
        notes.append("The text of this picture does not hold the pictures of its control units: choose them again.")
    return Control(tuple(units), notes=tuple(notes))


def _unit_text(unit: ControlUnit) -> str:
    pairs: dict[str, Any] = {}
    for declared in _DECLARED:
        pairs[str(declared.infotext)] = getattr(unit, declared.name)
        if declared.name == "resolution":
            pairs |= dict(zip(THRESHOLDS, _numbers(unit.params), strict=False))
    return write_pairs(pairs | {"Model": unit.model or NO_MODEL})


def _numbers(params: Mapping[str, Any]) -> list[int | float]:
    return [value for value in params.values() if isinstance(value, (int, float)) and not isinstance(value, bool)]


def _parse(chunk: str) -> dict[str, Any] | None:
    """The object in a chunk; what is no number in JSON (NaN, Infinity) is null, as it is in requests."""
    try:
        told = json.loads(chunk, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _from_chunk(told: Mapping[str, Any]) -> Control:
    units: list[ControlUnit] = []
    notes: list[str] = []
    listed = told.get("control")
    for index, data in enumerate(listed[:MAX_UNITS] if isinstance(listed, list) else ()):
        try:
            units.append(ControlUnit.model_validate(data))
        except ValidationError as error:
            notes.append(f"Control unit {index + 1} is left out: {error.errors()[0]['msg']}.")
    return Control(tuple(units), _values(told, "ext"), _values(told, ABSENT), tuple(notes))


def _values(told: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """id -> values of its fields, of what stands under a key."""
    values = told.get(key)
    return {id: given for id, given in values.items() if isinstance(given, dict)} if isinstance(values, dict) else {}


def _read_unit(pairs: Mapping[str, str], thresholds: Thresholds) -> tuple[list[ControlUnit], list[str]]:
    """The unit that the pairs describe, field by field, and what had to be left out."""
    notes: list[str] = []
    unit = ControlUnit()
    for declared in _DECLARED:
        text = pairs.get(str(declared.infotext))
        if text is None or (declared.name == "model" and text == NO_MODEL):
            continue
        try:
            unit = ControlUnit.model_validate(unit.model_dump() | {declared.name: _value(declared, text)})
        except (ValueError, OverflowError):
            notes.append(f"{declared.infotext} cannot be {text!r}.")
    given = [text for label in THRESHOLDS if (text := pairs.get(label)) is not None]
    names = thresholds.get(unit.preprocessor, ())
    params = {name: number for name, text in zip(names, given, strict=False) if (number := _number(text)) is not None}
    if given and not names:
        notes.append(f"The thresholds of the preprocessor {unit.preprocessor!r} are not known here.")
    return [unit.model_copy(update={"params": params})], notes


def _value(declared: Parameter, text: str) -> Any:
    if declared.type is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else text
    return int(float(text)) if declared.type is int else text


def _number(text: str) -> int | float | None:
    """A threshold; negative ones stand for "the default" in A1111."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if not 0 <= value < 1e9 else int(value) if value == int(value) else value
