"""What the text of a picture says, in the words of a request: `infotext` read back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from webui.images.controltext import Thresholds, read_control
from webui.images.infotext import NEGATIVE
from webui.images.pairs import read_pairs
from webui.images.textchunks import MAX_TEXT
from webui.schema.fields import Parameter, parameters
from webui.schema.names import canonical_schedule, split_sampler
from webui.schema.requests import Inpaint, Txt2Img

WRITTEN = ("Template", "Negative Template", "Hires Template", "Hires Negative Template", "Styles")

SAME_SAMPLER, SAME_SCHEDULE = "Use same sampler", "Use same scheduler"
"""What A1111 calls the choices that leave both as in the first pass."""

_SIZE = re.compile(r"(\d+)x(\d+)")
_FEWEST_PAIRS = 3


@dataclass(frozen=True)
class Infotext:
    """A picture's text taken apart; `fields` has the last line's labels and values as they stand there, unquoted."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """What a picture's text says in the words of a request, ready for a form or a request to be filled with.

    values: field -> value, each within its declared bounds; the fields of the last line that a writer leaves out at
    their default have that default. model: the name of the model, which nobody switches to unasked. notes: what
    could not be taken over. written: what the prompts were made of, by its labels.
    """

    values: Mapping[str, Any]
    model: str = ""
    model_hash: str = ""
    notes: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> Infotext:
    """Take a text apart. The last line is prompt, too, unless it has at least three `key: value` pairs."""
    *lines, last = text[:MAX_TEXT].strip().split("\n")
    fields = _parse_fields(last)
    if not fields:
        lines.append(last)
    start = next((i for i, line in enumerate(lines) if line.strip().startswith(NEGATIVE)), len(lines))
    negative = [line.strip().removeprefix(NEGATIVE).strip() for line in lines[start:]]
    prompt = [line.strip() for line in lines[:start]]
    return Infotext("\n".join(prompt).strip(), "\n".join(negative).strip(), fields)


def read_form(text: str, chunk: str = "", thresholds: Thresholds = MappingProxyType({})) -> Form:
    """What a text says, in the words of a request. It never raises: what cannot be taken over is in the notes.

    chunk: the picture's second text, `own_text`, which tells control units and extensions exactly. thresholds:
    preprocessor -> the parameters that A1111 calls Threshold A and B, for pictures without that second text.
    """
    info = parse(text)
    if not info.fields:
        return Form({"prompt": info.prompt, "negative_prompt": info.negative_prompt})
    reader = _Reader(info.fields)
    values = {"prompt": info.prompt, "negative_prompt": info.negative_prompt, **reader.values()}
    control = read_control(info.fields, chunk, thresholds)
    values |= {"control": control.units, "ext": control.ext, "absent_ext": control.absent_ext}
    model, model_hash = info.fields.get("Model", ""), info.fields.get("Model hash", "")
    written = {label: info.fields[label] for label in WRITTEN if label in info.fields}
    return Form(values, model, model_hash, (*reader.notes, *control.notes), written)


def _parse_fields(line: str) -> dict[str, str]:
    """The pairs of a parameters line; none when it has fewer than three and thus is none."""
    pairs = read_pairs(line)
    return dict(pairs) if len(pairs) >= _FEWEST_PAIRS else {}


class _Reader:
    """Turns the labels of one text into fields of requests, keeping notes of what does not fit."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.notes: list[str] = []
        self._fields = fields

    def values(self) -> dict[str, Any]:
        values = {declared.name: value for declared in _DECLARED for value in self._declared(declared)}
        values |= self._sampler() | self._hires_sampler() | self._size() | self._hires(values)
        values["styles"] = ()
        values["mask_invert"] = self._fields.get("Mask mode") == "Inpaint not masked"
        if self._fields.get("RNG", "GPU") != "CPU":
            self.notes.append("This picture's noise came from another generator: the same seed gives another picture.")
        return values

    def _declared(self, declared: Parameter) -> Iterable[Any]:
        """The value of a field, or nothing: of an absent one the default, unless writers never leave it out."""
        assert declared.infotext is not None
        text = self._fields.get(declared.infotext)
        if declared.infotext == "Eta":
            text = self._fields.get("Eta DDIM", text)
        if text is None:
            return () if declared.infotext in _NEVER_LEFT_OUT else (declared.default,)
        try:
            return (self._within(declared, _convert(declared, text)),)
        except ValueError as error:
            self.notes.append(f"{declared.infotext}: {error}.")
            return ()

    def _within(self, declared: Parameter, value: Any) -> Any:
        """A number moved into its bounds."""
        low, high = declared.minimum, declared.maximum
        if isinstance(value, (str, bool)) or low is None or high is None or low <= value <= high:
            return value
        nearest = declared.type(min(max(value, low), high))
        self.notes.append(f"{declared.infotext}: {value} is outside {low} to {high}; {nearest} is used.")
        return nearest

    def _sampler(self) -> dict[str, str]:
        """Sampler and schedule type; old texts have both in one: "DPM++ 2M Karras"."""
        try:
            sampler, schedule = split_sampler(self._fields["Sampler"])
            named = self._fields.get("Schedule type")
            return {"sampler": sampler, "scheduler": canonical_schedule(named) if named else schedule or "Automatic"}
        except KeyError:
            return {}
        except ValueError as error:
            self.notes.append(f"{error}.".capitalize())
            return {}

    def _hires_sampler(self) -> dict[str, str]:
        """Those of the hires pass where it has its own; A1111 1.6 to 1.8 have both in one here, too."""
        named, spacing = (self._fields.get(label, "") for label in ("Hires sampler", "Hires schedule type"))
        found = {"hr_sampler_name": "", "hr_scheduler": ""}
        try:
            if named and named != SAME_SAMPLER:
                found["hr_sampler_name"], schedule = split_sampler(named)
                found["hr_scheduler"] = schedule or ""
            if spacing and spacing != SAME_SCHEDULE:
                found["hr_scheduler"] = canonical_schedule(spacing)
        except ValueError as error:
            self.notes.append(f"Hires pass: {error}.")
        return found

    def _size(self) -> dict[str, int]:
        size = self._pair_of("First pass size") or self._pair_of("Size")
        if size is None:
            return {}
        declared = [next(one for one in parameters(Txt2Img) if one.name == name) for name in ("width", "height")]
        return {one.name: self._within(one, side) for one, side in zip(declared, size, strict=True)}

    def _hires(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Whether the hires pass is on, and its scale where the text has the size that it leads to; a side of 0 there
        follows from the other."""
        first, final = self._pair_of("First pass size"), self._pair_of("Hires resize")
        if first is not None:
            final = self._pair_of("Size")
        labels = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")
        wanted = any(label in self._fields for label in labels)
        start = first or self._pair_of("Size")
        if not wanted or start is None or 0 in start or final in (None, (0, 0)):
            return {"enable_hr": wanted}
        declared = next(one for one in parameters(Txt2Img) if one.name == "hr_scale")
        return {"enable_hr": wanted, "hr_scale": self._within(declared, max(final[0] / start[0], final[1] / start[1]))}

    def _pair_of(self, label: str) -> tuple[int, int] | None:
        """(width, height) of a value such as 512x768."""
        found = _SIZE.fullmatch(self._fields.get(label, ""))
        return (int(found[1][:9]), int(found[2][:9])) if found else None


def _convert(declared: Parameter, text: str) -> Any:
    """A value as the field's type. Raises ValueError."""
    if declared.type is str:
        if declared.choices is not None and text not in declared.choices:
            raise ValueError(f"{text!r} is not known here")
        return text
    if declared.type is bool:
        if text not in ("True", "False"):
            raise ValueError(f"{text!r} is neither True nor False")
        return text == "True"
    number = float(text)
    if not abs(number) < 1e15:
        raise ValueError(f"{text!r} is no number that can be used")
    return int(number) if declared.type is int else number


_NEVER_LEFT_OUT = frozenset({"Steps", "CFG scale", "Seed", "Denoising strength"})
_DECLARED = tuple(
    {
        declared.name: declared
        for request in (Txt2Img, Inpaint)
        for declared in parameters(request)
        if declared.infotext not in (None, "Sampler", "Schedule type", "Hires sampler", "Hires schedule type")
    }.values()
)
"""Every labelled field of any request; samplers and their schedule types are read together."""
