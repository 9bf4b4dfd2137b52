"""The control units of one job in the engine: its stage of maps, the units of each pass, their reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from webui.control.adapters import Base
from webui.control.bank import Frame, UnitBank
from webui.control.effect import Ratios
from webui.control.hints import Part
from webui.control.passes import PassUnits
from webui.engine.telling import Telling
from webui.ext.passes import PassInfo
from webui.images.read import opaque
from webui.nn.config import ModelConfig
from webui.pipeline.inpaint import prepare
from webui.pipeline.work import ModelFacts
from webui.schema.events import MapReady, UnitReport
from webui.schema.images import ImageRef
from webui.schema.requests import Inpaint, Request

NO_EFFECT = 1e-4
"""Residuals smaller than this share of what they are added to change nothing that can be seen."""


class JobUnits:
    """`webui.ext.session.UnitSource` of one job. first: of its first pass."""

    def __init__(self, bank: UnitBank, first: Frame, telling: Telling) -> None:
        self._bank = bank
        self._first = first
        self._telling = telling
        self._seen: dict[tuple[int, int], list[Ratios]] = defaultdict(list)

    def prepare(self) -> None:
        """Make all maps, then load the networks."""
        stage = self._bank.prepare(self._first)
        done = object()
        while True:
            made = self._telling.timed("control maps", partial(next, stage, done))
            if made is done:
                return
            number, unit, found = made
            label = unit.model or unit.preprocessor
            height, width = found.image.shape[:2]
            event = MapReady(
                job_id=self._telling.job_id, unit=number, label=label, width=width, height=height, save=unit.save_map,
                data=found.data if is_json(found.data) else None,
            )  # fmt: skip
            self._telling.event(event, np.ascontiguousarray(found.image).tobytes())

    def use(self, config: ModelConfig, base: Base) -> None:
        """Another checkpoint draws from now on."""
        self._bank.use(config, base)

    def open(self, info: PassInfo) -> PassUnits:
        """The units made ready for one pass of one picture."""
        frame = Frame(info.width, info.height, info.shape, info.kind == "hires", info.crop)
        return self._bank.open(frame, self._first)

    def closed(self, info: PassInfo, units: PassUnits) -> None:
        """Remember what the units did in a pass."""
        for ratios in units.reports(info.steps):
            self._seen[ratios.number, info.part].append(ratios)

    def report(self) -> None:
        """Tell what each unit did in each pass: the mean over all pictures."""
        for (number, part), found in sorted(self._seen.items()):
            steps = sorted({step for one in found for step in one.steps})
            means = [mean_at(step, found) for step in steps]
            event = UnitReport(
                job_id=self._telling.job_id, unit=number, label=found[0].label, part=part, steps=tuple(steps),
                ratios=tuple(means), note=effect_note(all(one.measured for one in found), means),
            )  # fmt: skip
            self._telling.event(event)


def mean_at(step: int, found: list[Ratios]) -> float:
    """The mean ratio of all pictures that were measured in a step."""
    values = [dict(zip(one.steps, one.values, strict=True))[step] for one in found if step in one.steps]
    return sum(values) / len(values)


def effect_note(measured: bool, means: list[float]) -> str:
    """What the user shall know of a unit's effect; "" when all is well."""
    if not measured:
        return ""
    if not means:
        return "it did not act in any step."
    return "it had no effect: what it added was as good as zero." if max(means) < NO_EFFECT else ""


def first_frame(request: Request, facts: ModelFacts, pictures: Callable[[ImageRef], Image.Image]) -> Frame:
    """The size of the job's first pass."""
    part = first_part(request, facts.config.native_size, pictures)
    return Frame(part.width, part.height, facts.latent_shape(part.width, part.height), False, part.crop)


def first_part(request: Request, native_size: int, pictures: Callable[[ImageRef], Image.Image]) -> Part:
    """What the job's first pass draws. native_size: the side of a picture whose size is left open, in pixels."""
    if not isinstance(request, Inpaint):
        return Part(request.width or native_size, request.height or native_size)
    canvas = prepare(request, opaque(pictures(request.init_image)), pictures(request.mask))
    return Part(*canvas.image.size, canvas.region.box if canvas.region is not None else None)


def is_json(data: Any) -> bool:
    """Whether a map's data can travel as JSON: an array cannot."""
    if isinstance(data, Mapping):
        return all(isinstance(key, str) and is_json(value) for key, value in data.items())
    if isinstance(data, (list, tuple)):
        return all(is_json(value) for value in data)
    return data is None or isinstance(data, (bool, int, float, str))
