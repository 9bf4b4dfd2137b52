"""The text that a picture carries, in the form every Stable Diffusion program reads: A1111's `parameters`.

    a red ball
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Version: atelier 0.1.0

Which field of a request has which label is declared with the field (`schema.requests`); here are only the order of the
labels and those few that are not one field written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import webui
from webui.images.controltext import OWN_CHUNK, control_labels, own_text
from webui.images.pairs import write_pairs
from webui.schema.events import ImageReady
from webui.schema.fields import parameters
from webui.schema.names import SAMPLER_BY_LABEL
from webui.schema.requests import Inpaint, Request, Txt2Img
from webui.schema.results import ModelInfo

PARAMETERS = "parameters"
ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Size", "Model hash", "Model",
    "Variation seed", "Variation seed strength", "Denoising strength", "Conditional mask weight", "Noise level",
    "Clip skip", "RNG", "Hires upscale", "Hires steps", "Hires upscaler", "Hires checkpoint", "Hires sampler",
    "Hires schedule type", "Hires CFG Scale", "Refiner", "Refiner switch at", "VAE", "Mask mode", "Mask blur",
    "Inpaint area", "Masked area padding", "Masked content",
)  # fmt: skip
"""Readers that do not know quotes want these before any quoted value; whatever else there is follows."""
LAST = ("Version",)
OF_KIND = {"Image CFG scale": "edit", "Conditional mask weight": "inpaint", "Noise level": "upscale"}
"""Labels of what models with further channels alone read, and which."""
ALWAYS = frozenset(
    {"Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Variation seed",
     "Variation seed strength", "Denoising strength", "Hires upscale", "Hires upscaler", "Mask blur",
     "Masked area padding", "Refiner switch at", "Conditional mask weight", "Noise level"}
)  # fmt: skip
"""Written even when they are the default; other fields are left out then."""
NEGATIVE = "Negative prompt:"


def infotext_for(
    request: Request, model: ModelInfo, seed: int, subseed: int, extras: Mapping[str, Any] | None = None
) -> str:
    """The text of one picture of a resolved request.

    seed, subseed: the picture's own. extras: label -> value of whatever else has a say; None leaves a label out.
    """
    size = f"{request.width}x{request.height}"
    fields = request_labels(request.model_copy(update={"seed": seed, "subseed": subseed}))
    fields = {label: value for label, value in fields.items() if OF_KIND.get(label, model.extra) == model.extra}
    if model.extra == "upscale":  # it begins with noise alone
        fields.pop("Denoising strength", None)
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
            labels |= dict.fromkeys(_labels(declared.infotext, request), value)
    if isinstance(request, Inpaint) and request.mask_invert:
        labels["Mask mode"] = "Inpaint not masked"
    return labels


def _labels(label: str, request: Request) -> tuple[str, ...]:
    """The labels of a value as A1111 writes them: the eta of the DDIM family has one of its own."""
    if label != "Eta":
        return (label,)
    hires = request.hr_sampler_name if isinstance(request, Txt2Img) and request.enable_hr else ""
    return tuple(SAMPLER_BY_LABEL[sampler].eta_label for sampler in (request.sampler, hires) if sampler)


def write(fields: Mapping[str, Any], prompt: str = "", negative_prompt: str = "") -> str:
    """Compose the text: the fields in A1111's order, None left out, unsafe values quoted as JSON."""
    known = [label for label in ORDER if label in fields]
    others = [label for label in fields if label not in ORDER and label not in LAST]
    ordered = known + others + [label for label in LAST if label in fields]
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{write_pairs({label: fields[label] for label in ordered})}".strip()


def _unused(request: Request) -> set[str]:
    """Fields of a request that had no say in the picture."""
    unused = set()
    if request.subseed_strength == 0:
        unused |= {"subseed", "subseed_strength"}
    if isinstance(request, Txt2Img) and not request.enable_hr:
        unused |= {declared.name for declared in parameters(Txt2Img) if declared.group == "hires"}
    if not request.refiner:
        unused |= {"refiner_switch_at"}
    if isinstance(request, Inpaint) and request.inpaint_area != "Only masked":
        unused |= {"padding"}
    return unused
