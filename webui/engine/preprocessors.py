"""The preprocessors of an engine's extensions, as control units call them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from webui.control.adapters import Map
from webui.control.geometry import Pixels
from webui.ext.host import Host
from webui.ext.manifest import Manifest
from webui.ext.maps import PreprocessContext, make_map
from webui.ext.needs import declared_place
from webui.ext.params import values_of
from webui.ext.specs import PreprocessorSpec
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import OutOfMemory

KEPT = 8
DEEPEST = 4
"""Preprocessors that may call each other one inside the other: more is a circle."""


class Kept:
    """What preprocessors load, by extension and key: the latest few, until the memory is needed. Used by one thread."""

    def __init__(self, limit: int = KEPT) -> None:
        self._things: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._limit = limit

    def get(self, owner: str, key: str, make: Callable[[], Any]) -> Any:
        if (owner, key) not in self._things:
            self._things[owner, key] = make()
        self._things.move_to_end((owner, key))
        while len(self._things) > self._limit:
            self._things.popitem(last=False)
        return self._things[owner, key]

    def rest(self) -> None:
        """Networks off the device: those that are asked again move themselves to `ctx.device`."""
        for thing in self._things.values():
            if isinstance(thing, nn.Module):
                thing.to("cpu")

    def clear(self) -> None:
        self._things.clear()


class HostPreprocessors:
    """`webui.control.maps.Preprocessors` over a host. check_cancel: raises when the owner of the job stopped it.
    relieve: makes room on a device that is full; whether there was anything to be done."""

    def __init__(
        self,
        host: Host,
        models_dir: Path,
        device: str,
        kept: Kept,
        check_cancel: Callable[[], None] = lambda: None,
        relieve: Callable[[], bool] = lambda: False,
    ) -> None:
        self._host = host
        self._models_dir = models_dir
        self._device = device
        self._kept = kept
        self._check_cancel = check_cancel
        self._relieve = relieve
        self._depth = 0

    def kind(self, id: str) -> str:
        """The kind of its maps: "edges", "depth", ..."""
        return self._spec(id)[1].kind

    def alone(self, id: str) -> bool:
        """Whether units act by the hooks of its extension, without a control model."""
        return self._spec(id)[1].alone

    def looks(self, id: str) -> bool:
        """Whether its map follows from a picture; else from its parameters alone."""
        return self._spec(id)[1].picture

    def at_resolution(self, id: str) -> bool:
        """Whether it is asked at the unit's resolution; else at the picture's own size."""
        return self._spec(id)[1].resolution is not False

    def version(self, id: str) -> str:
        """The version of its extension, and a digest of its code."""
        manifest, _ = self._spec(id)
        return f"{manifest.id} {manifest.version} {self._host.content(manifest.id)}"

    def run(
        self, id: str, image: Pixels, params: Mapping[str, Any], mask: Pixels | None, rng: np.random.Generator
    ) -> Map:
        """The map of a picture, as large as the picture; made again where memory ran out and there was some to be had.
        Raises AtelierError."""
        drawn = copy.deepcopy(rng)
        try:
            return self._run(id, image, params, mask, rng)
        except (RuntimeError, MemoryError) as error:
            if self._depth or not is_out_of_memory(error):
                raise
        # outside the handler, whose traceback would keep the tensors of the failed try alive
        if not self._relieve():
            raise OutOfMemory(f"There is not enough memory for the preprocessor {id}.", "Lower its resolution.")
        return self._run(id, image, params, mask, drawn)

    def _run(
        self, id: str, image: Pixels, params: Mapping[str, Any], mask: Pixels | None, rng: np.random.Generator
    ) -> Map:
        manifest, spec = self._spec(id)
        self._check_cancel()
        if self._depth >= DEEPEST:
            raise RecursionError(f"the preprocessor {id} is asked for by itself")
        function = self._host.preprocessor(id)[1]
        context = PreprocessContext(
            rng, mask, self._device, lambda id: declared_place(manifest, id, self._models_dir),
            partial(self._kept.get, manifest.id), self._check_cancel, partial(self._other, mask, rng),
        )  # fmt: skip
        self._depth += 1
        try:
            return make_map(function, image, values_of(spec.params, params), context)
        finally:
            self._depth -= 1

    def _other(self, mask: Pixels | None, rng: np.random.Generator, id: str, image: Pixels, **params: Any) -> Map:
        return self.run(id, image, params, mask, rng)

    def _spec(self, id: str) -> tuple[Manifest, PreprocessorSpec]:
        manifest = self._host.found(self._host.owner_of(id)).manifest
        assert manifest is not None
        return manifest, next(spec for spec in manifest.preprocessors if spec.id == id)
