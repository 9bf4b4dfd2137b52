"""`POST /api/v1/ext/clip_rank/describe` and `.../compare`: the same for pictures that are handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from webui.ext import BadRequest

from . import describe as zero_shot
from .clip import DECLARED, open_clip, spoken

if TYPE_CHECKING:
    from PIL import Image

    from webui.ext import ModelFiles


def describe(body: Mapping[str, Any], images: Sequence[Image.Image], *, models: ModelFiles) -> dict[str, Any]:
    """{"model", "best"} -> {"pictures": [{"text", "subject": [[word, share], ...], "medium": ...}]}."""
    name, best = given(body, images, "model", "best")
    clip = open_clip(models, name or DECLARED)
    lists = zero_shot.vectors(clip, models, name or DECLARED)
    found = [zero_shot.describe(clip, vector, lists, best or 3) for vector in clip.of_images(images)]
    return {"pictures": [{"text": one.text, **one.found} for one in found]}


def compare(body: Mapping[str, Any], images: Sequence[Image.Image], *, models: ModelFiles) -> dict[str, Any]:
    """{"prompt", "model"} -> {"likeness": [...], "order": numbers of the pictures from 0, the most alike first}."""
    prompt, name = given(body, images, "prompt", "model")
    if not prompt:
        raise BadRequest('There is no "prompt" to compare with.')
    clip = open_clip(models, name or DECLARED)
    likeness = (clip.of_images(images) @ clip.of_texts([spoken(prompt)])[0]).tolist()
    return {"likeness": likeness, "order": sorted(range(len(images)), key=lambda at: -likeness[at])}


def given(body: Mapping[str, Any], images: Sequence[Image.Image], *names: str) -> list[Any]:
    """The values of these names, None where there is none. Raises BadRequest."""
    if not images:
        raise BadRequest("There is no picture.", "Hand in at least one.")
    if unknown := sorted(set(body) - set(names)):
        raise BadRequest(f"There is no {unknown[0]!r} here.", f"Known are: {', '.join(names)}.")
    for name in names:
        if name in body and (fault := _fault(name, body[name])):
            raise BadRequest(f"{name!r} is {body[name]!r} but must be {fault}.")
    return [body.get(name) for name in names]


def _fault(name: str, value: Any) -> str:
    """What the value must be in its place; "" where it is."""
    if name == "best":
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return "" if is_count else "a whole number from 1"
    return "" if isinstance(value, str) else "a text"
