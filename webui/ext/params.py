"""Parameters that a manifest declares: of preprocessors, accordions and settings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webui.schema.errors import BadRequest
from webui.schema.images import reference

Kind = Literal["int", "float", "bool", "text", "choice", "image"]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Colour = Annotated[str, Field(pattern=r"^(#[0-9a-f]{6}|[a-z]{3,20})$")]
USUAL_LENGTH, LONGEST = 10_000, 1_000_000


class Strict(BaseModel):
    """A frozen value that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Param(Strict):
    """One declared parameter. min, max, step: for numbers. choices: for "choice". max_length: of a text, in characters;
    USUAL_LENGTH where nothing is said; lines: how many of it the page shows. colours: of a picture that is painted in
    the page, as CSS has them ("red", "#ff0000"); without them any picture is taken.

    Without a default it is min or 0, False, "" or the first choice; without a label it is named after its id. A picture
    is `{"sha256": ...}` of one that was handed in, or None, which is its default.
    """

    id: Word
    label: str = ""
    type: Kind
    min: float | None = None
    max: float | None = None
    step: float | None = Field(None, gt=0)
    default: int | float | bool | str | None = None
    choices: tuple[str, ...] = ()
    max_length: int | None = Field(None, ge=1, le=LONGEST)
    lines: int | None = Field(None, ge=1, le=40)
    colours: tuple[Colour, ...] = ()
    help: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        label = str(given.get("id", "")).replace("_", " ").capitalize()
        return {**given, "label": given.get("label") or label, "default": given.get("default", _plain(given))}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError('"choices" belong to the type "choice", and to no other')
        if self.type not in ("int", "float") and (self.min, self.max, self.step) != (None, None, None):
            raise ValueError(f'"min", "max" and "step" belong to numbers, not to the type "{self.type}"')
        if self.type != "text" and (self.max_length, self.lines) != (None, None):
            raise ValueError(f'"max_length" and "lines" belong to texts, not to the type "{self.type}"')
        if self.type != "image" and self.colours:
            raise ValueError(f'"colours" belong to pictures, not to the type "{self.type}"')
        if self.type == "image" and self.default is not None:
            raise ValueError("a picture has no default")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f'"min" {self.min:g} is above "max" {self.max:g}')
        if fault := self.fault(self.default):
            raise ValueError(f"its default {fault}")
        return self

    def fault(self, value: Any) -> str:
        """Why this value cannot be taken, as the end of a sentence; "" where it can."""
        if self.type == "bool":
            return "" if isinstance(value, bool) else f"is {value!r} but must be true or false"
        if self.type == "choice":
            return "" if value in self.choices else f"is {value!r} but must be one of: {', '.join(self.choices)}"
        if self.type == "text":
            longest = self.max_length or USUAL_LENGTH
            fits = isinstance(value, str) and len(value) <= longest
            return "" if fits else f"is {value!r:.20} but must be a text of at most {longest} characters"
        if self.type == "image":
            fits = value is None or reference(value) is not None
            return "" if fits else f"is {value!r:.20} but must name a picture by its sha256"
        return self._number_fault(value)

    def _number_fault(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"is {value!r} but must be a number"
        if self.type == "int" and value != int(value):
            return f"is {value!r} but must be a whole number"
        if self.min is not None and value < self.min:
            return f"is {value:g} but must be at least {self.min:g}"
        return f"is {value:g} but must be at most {self.max:g}" if self.max is not None and value > self.max else ""

    def parse(self, text: str) -> Any:
        """The value that a command line gives as text; what cannot be read stays text, and is refused by `fault`."""
        if self.type == "bool":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
                text.lower(), text
            )
        if self.type in ("int", "float"):
            try:
                return int(text) if self.type == "int" else float(text)
            except ValueError:
                return text
        return text


def _plain(given: Mapping[str, Any]) -> Any:
    """The default of a parameter that declares none."""
    number = given.get("min", 0)
    choices = given.get("choices") or [""]
    return {"bool": False, "text": "", "choice": choices[0], "image": None}.get(str(given.get("type")), number)


def values_of(params: Sequence[Param], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of declared parameters: what is given, checked, and the defaults of the others.

    Raises:
        BadRequest: names the parameter that is unknown or wrong.
    """
    if unknown := sorted(set(given) - {param.id for param in params}):
        names = [param.id for param in params]
        raise BadRequest(f'There is no parameter "{unknown[0]}"{suggest(unknown[0], names)}.', _listed(names))
    for param in params:
        if param.id in given and (fault := param.fault(given[param.id])):
            raise BadRequest(f'The parameter "{param.id}" {fault}.')
    return {param.id: _typed(param, given.get(param.id, param.default)) for param in params}


def _typed(param: Param, value: Any) -> Any:
    return {"int": int, "float": float}.get(param.type, lambda same: same)(value)


def _listed(names: Sequence[str]) -> str:
    return f"Known are: {', '.join(names)}." if names else "None is declared."


def suggest(word: str, known: Iterable[str]) -> str:
    """' (did you mean "max"?)', or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
