"""The control units of one job: their maps, their networks, and the units of each pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.control_catalogue import ControlCatalogue, ControlModel
from webui.control.adapters import AdapterKind, Base, Hint, Map, Match
from webui.control.geometry import Pixels, mirrored_to
from webui.control.hints import Box, Hints, Part
from webui.control.lone import LoneUnit
from webui.control.maps import MapCache, Preprocessors
from webui.control.passes import PassUnits
from webui.control.policy import in_pass
from webui.control.shelf import Loaded, Shelf
from webui.control.units import Fitted, Unit
from webui.control.validate import check_fit
from webui.nn.config import ModelConfig
from webui.schema.control import NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import ModelError
from webui.schema.images import ImageRef
from webui.schema.requests import Request
from webui.schema.resolve import hires_model


@dataclass(frozen=True)
class Frame:
    """The size of one pass. width, height: what is asked for, in pixels; shape: of the latent (c h w).

    hires: whether this is the hires pass. crop: the part of the first picture (left, top, right, bottom, in its pixels)
    that an inpainting draws alone.
    """

    width: int
    height: int
    shape: tuple[int, int, int]
    hires: bool = False
    crop: Box | None = None

    @property
    def part(self) -> Part:
        """What of the picture is drawn, and at which size."""
        return Part(self.width, self.height, self.crop)


@dataclass(frozen=True)
class ControlTools:
    """What the engine lends. adapters: of all extensions, in running order; config: of the checkpoint;
    shelf, maps: kept from job to job; picture: a picture of the request; note: tells the user."""

    catalogue: ControlCatalogue
    preprocessors: Preprocessors
    adapters: Callable[[], Sequence[AdapterKind]]
    shelf: Shelf
    maps: MapCache
    config: ModelConfig
    base: Base
    device: torch.device
    picture: Callable[[ImageRef], Image.Image]
    note: Callable[[str], None]


class UnitBank:
    """The enabled units of a job, made ready once and fitted to each pass."""

    def __init__(self, request: Request, tools: ControlTools) -> None:
        self._request = request
        self._tools = tools
        self._hints = Hints(request, tools.preprocessors, tools.maps, tools.picture)
        self._fitted_to: dict[tuple[int, Frame], Fitted] = {}
        self._files: dict[str, ControlModel] = {}
        tools.maps.make_room(len(self.units))

    @property
    def units(self) -> list[tuple[int, ControlUnit]]:
        """Enabled units and their numbers, from 1 as the user counts."""
        return [(number, unit) for number, unit in enumerate(self._request.control, 1) if unit.enabled]

    def prepare(self, frame: Frame) -> Iterator[tuple[int, ControlUnit, Map]]:
        """Make the map of every unit, one after another, then load the networks: the stage before sampling. Those that
        act in the hires pass of another checkpoint alone are loaded when it is there.

        frame: of the first pass. Yields number, unit and map, each as it is made.

        Raises:
            AtelierError: a map cannot be made, or a network cannot be loaded.
        """
        for number, unit in self.units:
            yield number, unit, self.map(unit, frame)
        for _, unit in self.units:
            if not self._is_alone(unit) and (in_pass(unit, hires=False) or not hires_model(self._request)):
                self._load(unit)

    def use(self, config: ModelConfig, base: Base) -> None:
        """Another checkpoint draws from now on: nothing that is fitted to the one before is kept."""
        self._tools = replace(self._tools, config=config, base=base)
        self._fitted_to.clear()

    def map(self, unit: ControlUnit, frame: Frame) -> Map:
        """The map of a unit at its own size; made once."""
        return self._hints.map(unit, frame.part)

    def open(self, frame: Frame, first: Frame) -> PassUnits:
        """The units that act in a pass, their maps fitted to it. first: the frame that `prepare` was given."""
        acting = [(number, unit) for number, unit in self.units if in_pass(unit, frame.hires)]
        units: list[Unit] = []
        alone: list[LoneUnit] = []
        for number, unit in acting:
            region = self._region(unit, frame)
            if self._is_alone(unit):
                alone.append(LoneUnit(number, unit, self._hint(unit, frame, first, Match("")), region, frame.hires))
                continue
            units.append(Unit(self._fit(number, unit, frame, first, region)))
        return PassUnits(units, alone)

    def _fit(self, number: int, unit: ControlUnit, frame: Frame, first: Frame, region: Tensor | None) -> Fitted:
        """The unit made ready for a frame, once for all pictures of that size."""
        loaded = self._load(unit)
        known = self._fitted_to.get((number, frame))
        if known is None or known.adapter is not loaded.adapter:
            hint = self._hint(unit, frame, first, loaded.match, self._is_bgr(unit))
            config = self._tools.config.unet
            keeper = self._tools.shelf.keeper
            known = Fitted(number, unit, loaded.adapter, loaded.match, config, hint, region, frame.hires, keeper)
            self._fitted_to[number, frame] = known
        return known

    def _is_alone(self, unit: ControlUnit) -> bool:
        return unit.preprocessor != NO_PREPROCESSOR and self._tools.preprocessors.alone(unit.preprocessor)

    def _is_bgr(self, unit: ControlUnit) -> bool:
        info = self._file(unit).info
        return info is not None and info.bgr

    def _file(self, unit: ControlUnit) -> ControlModel:
        """The file of a unit, looked for once: that looks through folders."""
        if unit.model not in self._files:
            self._files[unit.model] = self._tools.catalogue.find(unit.model)
        return self._files[unit.model]

    def _load(self, unit: ControlUnit) -> Loaded:
        model = self._file(unit)
        if model.error and not model.unknown:
            raise ModelError(model.error)
        if model.info is not None:
            check_fit(model.name, model.info, self._tools.config)
        return self._tools.shelf.get(model, self._tools.adapters(), self._tools.base)

    def _hint(self, unit: ControlUnit, frame: Frame, first: Frame, match: Match, bgr: bool = False) -> Hint:
        """The map fitted to the pass, as the network reads it."""
        seen = self._hints.seen(unit, frame.part, first.part)
        image = self._padded(seen.image[..., ::-1] if bgr else seen.image, frame)
        mask = None if seen.mask is None else self._padded(seen.mask[..., None], frame)
        if match.hint == "inpaint" and mask is not None:
            image = image * (1 - mask) - mask
        return Hint(image, seen.made.image, unit, mask, seen.made.data)

    def _region(self, unit: ControlUnit, frame: Frame) -> Tensor | None:
        """Where the unit acts, (1 1 h w) in 0..1; None for everywhere."""
        mask = self._hints.region(unit, frame.part)
        return None if mask is None else self._padded(mask[..., None], frame)

    def _padded(self, pixels: Pixels, frame: Frame) -> Tensor:
        """(1 c h w) in 0..1, the rest up to whole latent pixels being mirrored as the picture's is."""
        multiple = self._tools.config.vae.downscale
        return self._tensor(mirrored_to(pixels, frame.shape[2] * multiple, frame.shape[1] * multiple))

    def _tensor(self, pixels: Pixels) -> Tensor:
        """(h w c) -> (1 c h w) in 0..1."""
        plain = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None] / 255
        return plain.to(self._tools.device, self._tools.base.dtype)
