"""The text that a picture carries, in the form every Stable Diffusion program reads: A1111's `parameters`.

    a red ball
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Version: atelier 0.1.0

Which field of a request has which label is declared with the field (`schema.requests`); here are only the order of the
labels and those few that are not one field written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image

import webui
from webui.images.controltext import OWN_CHUNK, Thresholds, control_labels, own_text, read_control
from webui.images.pairs import read_pairs, write_pairs
from webui.images.read import MAX_INPUT_PIXELS, open_header
from webui.schema.errors import BadImage
from webui.schema.events import ImageReady
from webui.schema.fields import Parameter, parameters
from webui.schema.names import SAMPLER_BY_LABEL, canonical_schedule, split_sampler
from webui.schema.requests import Inpaint, Request, Txt2Img
from webui.schema.results import ModelInfo

PARAMETERS = "parameters"
ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Size", "Model hash", "Model",
    "Variation seed", "Variation seed strength", "Denoising strength", "Clip skip", "RNG", "Hires upscale",
    "Hires steps", "Hires upscaler", "Hires checkpoint", "Refiner", "Refiner switch at", "VAE", "Mask mode",
    "Mask blur", "Inpaint area", "Masked area padding", "Masked content",
)  # fmt: skip
"""Readers that do not know quotes want these before any quoted value; whatever else there is follows."""
LAST = ("Version",)
IMAGE_CFG = "Image CFG scale"
ALWAYS = frozenset(
    {"Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Variation seed",
     "Variation seed strength", "Denoising strength", "Hires upscale", "Hires upscaler", "Mask blur",
     "Masked area padding", "Refiner switch at"}
)  # fmt: skip
"""Written even when they are the default; other fields are left out then."""
WRITTEN = ("Template", "Negative Template", "Styles")
MAX_TEXT = 1_000_000
MAX_OWN_TEXT = 16_000_000
"""What is cut off is no JSON any more; a request holds at most `MAX_STEERING` of it."""

_SIZE = re.compile(r"(\d+)x(\d+)")
_NEGATIVE = "Negative prompt:"
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


def infotext_for(
    request: Request, model: ModelInfo, seed: int, subseed: int, extras: Mapping[str, Any] | None = None
) -> str:
    """The text of one picture of a resolved request.

    seed, subseed: the picture's own. extras: label -> value of whatever else has a say; None leaves a label out.
    """
    size = f"{request.width}x{request.height}"
    fields = request_labels(request.model_copy(update={"seed": seed, "subseed": subseed}))
    if model.extra != "edit":
        fields.pop(IMAGE_CFG, None)
    fields |= {"Size": size, "Model": model.name.rsplit("/", 1)[-1], "Model hash": model.short_hash, "RNG": "CPU"}
    fields |= control_labels(request.control)
    fields |= {"Version": f"atelier {webui.__version__}", **(extras or {})}
    return write(fields, request.prompt, request.negative_prompt)


def texts_of(request: Request, model: ModelInfo, event: ImageReady) -> dict[str, str]:
    """All texts of a finished picture: its prompts and seeds are those that it was drawn with."""
    drawn = request.model_copy(update={"prompt": event.prompt, "negative_prompt": event.negative_prompt})
    return texts_for(drawn, model, event.seed, event.subseed, event.infotext)


def texts_for(
    request: Request, model: ModelInfo, seed: int, subseed: int, extras: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """All texts of one picture, by the name of their PNG chunk."""
    own = own_text(request.control, request.ext, request.absent_ext)
    return {PARAMETERS: infotext_for(request, model, seed, subseed, extras), **({OWN_CHUNK: own} if own else {})}


def request_labels(request: Request) -> dict[str, Any]:
    """Label -> value of the fields that say something: unused options and defaults that readers assume are left out."""
    unused = _unused(request)
    labels: dict[str, Any] = {}
    for declared in parameters(type(request)):
        value = getattr(request, declared.name)
        if declared.infotext is None or declared.name in unused:
            continue
        if declared.infotext in ALWAYS or value != declared.default:
            labels[_label(declared.infotext, request.sampler)] = value
    if isinstance(request, Inpaint) and request.mask_invert:
        labels["Mask mode"] = "Inpaint not masked"
    return labels


def _label(label: str, sampler: str) -> str:
    """The label as A1111 writes it: the eta of the DDIM family has one of its own."""
    return SAMPLER_BY_LABEL[sampler].eta_label if label == "Eta" else label


def write(fields: Mapping[str, Any], prompt: str = "", negative_prompt: str = "") -> str:
    """Compose the text: the fields in A1111's order, None left out, unsafe values quoted as JSON."""
    known = [label for label in ORDER if label in fields]
    others = [label for label in fields if label not in ORDER and label not in LAST]
    ordered = known + others + [label for label in LAST if label in fields]
    negative = f"\n{_NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{write_pairs({label: fields[label] for label in ordered})}".strip()


def parse(text: str) -> Infotext:
    """Take a text apart. The last line is prompt, too, unless it has at least three `key: value` pairs."""
    *lines, last = text[:MAX_TEXT].strip().split("\n")
    fields = _parse_fields(last)
    if not fields:
        lines.append(last)
    start = next((i for i, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines))
    negative = [line.strip().removeprefix(_NEGATIVE).strip() for line in lines[start:]]
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


def read_infotext(data: bytes) -> str:
    """The text in a picture's bytes: PNG `parameters`, EXIF UserComment of JPEG, WebP and AVIF, GIF comment; or "".

    Raises:
        BadImage: it is no picture.
    """
    return read_texts(data)[0]


def read_texts(data: bytes) -> tuple[str, str]:
    """(`read_infotext`, the text that `own_text` wrote). Raises BadImage."""
    with open_header(data) as image:
        try:
            return _text_of(image)[:MAX_TEXT], str(image.info.get(OWN_CHUNK, ""))[:MAX_OWN_TEXT]
        except Exception as error:  # damaged text chunks raise whatever they bring about
            raise BadImage(f"The text in the picture cannot be read: {error}.", "Use the original file.") from error


def _unused(request: Request) -> set[str]:
    """Fields of a request that had no say in the picture."""
    unused = set()
    if request.subseed_strength == 0:
        unused |= {"subseed", "subseed_strength"}
    if isinstance(request, Txt2Img) and not request.enable_hr:
        unused |= {"hr_scale", "hr_upscaler", "hr_steps", "hr_model", "denoising_strength"}
    if not request.refiner:
        unused |= {"refiner_switch_at"}
    if isinstance(request, Inpaint) and request.inpaint_area != "Only masked":
        unused |= {"padding"}
    return unused


def _parse_fields(line: str) -> dict[str, str]:
    """The pairs of a parameters line; none when it has fewer than three and thus is none."""
    pairs = read_pairs(line)
    return dict(pairs) if len(pairs) >= _FEWEST_PAIRS else {}


def _text_of(image: Image.Image) -> str:
    if image.format == "GIF":
        return _decode(image.info.get("comment", b""))
    if image.format == "PNG":
        if "parameters" not in image.info and image.width * image.height <= MAX_INPUT_PIXELS:
            image.load()  # text may also stand behind the pixels
        return str(image.info.get("parameters", ""))
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    return _user_comment(comment) if isinstance(comment, bytes) else str(comment)


def _user_comment(comment: bytes) -> str:
    """EXIF 2.3, 4.6.5 "UserComment": eight bytes name the character code."""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # the standard leaves the byte order open; A1111 writes big-endian, others little: a prompt has Latin letters
        little = text[1::2].count(0) > text[::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").lstrip("\ufeff").strip("\0")
    return _decode(text if code in (b"ASCII\0\0\0", b"\0" * 8) else comment)


def _decode(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "replace").strip("\0")


class _Reader:
    """Turns the labels of one text into fields of requests, keeping notes of what does not fit."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.notes: list[str] = []
        self._fields = fields

    def values(self) -> dict[str, Any]:
        values = {declared.name: value for declared in _DECLARED for value in self._declared(declared)}
        values |= self._sampler() | self._size() | self._hires(values)
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
        if isinstance(value, str) or low is None or high is None or low <= value <= high:
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

    def _size(self) -> dict[str, int]:
        size = self._pair_of("First pass size") or self._pair_of("Size")
        if size is None:
            return {}
        declared = [next(one for one in parameters(Txt2Img) if one.name == name) for name in ("width", "height")]
        return {one.name: self._within(one, side) for one, side in zip(declared, size, strict=True)}

    def _hires(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Whether the hires pass is on, and its scale where the text has the size that it leads to."""
        first, final = self._pair_of("First pass size"), self._pair_of("Hires resize")
        if first is not None:
            final = self._pair_of("Size")
        labels = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")
        wanted = any(label in self._fields for label in labels)
        start = first or self._pair_of("Size")
        if not wanted or final is None or start is None or 0 in start or 0 in final:
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
        if declared.infotext not in (None, "Sampler", "Schedule type")
    }.values()
)
"""Every labelled field of any request; sampler and schedule type are read together, by `_Reader._sampler`."""
