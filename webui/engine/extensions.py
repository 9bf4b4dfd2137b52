"""What an engine keeps of extensions and control units from job to job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.checkpoints.forms import Memory
from webui.checkpoints.header import read_header
from webui.checkpoints.places import Places
from webui.control.adapters import HintKind, Match
from webui.control.bank import ControlTools
from webui.control.maps import MapCache
from webui.control.shelf import Shelf, match_of
from webui.engine.control import Stopped
from webui.engine.executor import Executor
from webui.engine.memory.model_parts import header_bytes
from webui.engine.memory.residency import Residency
from webui.engine.preprocessors import HostPreprocessors, Kept
from webui.ext.contexts import ModelEvent
from webui.ext.discover import Found, discover
from webui.ext.files import ModelFiles
from webui.ext.host import Host
from webui.ext.needs import declared_place
from webui.ext.network_guard import NetworkPrint
from webui.ext.owned import OwnedKind
from webui.ext.state import Choices, ExtState
from webui.ext.weights import FOLDER
from webui.schema.control import NO_PREPROCESSOR, ControlUnit
from webui.schema.errors import AtelierError
from webui.schema.images import ImageRef
from webui.schema.requests import Request

PASSING = (Stopped,)
"""What goes through an extension's code unchanged, as a full device does: it is not its fault."""


@dataclass(frozen=True)
class Folders:
    """Where extensions are looked for. data_dir: where it stands which are on; without it, the bundled ones alone."""

    extensions: tuple[Path, ...] = ()
    data_dir: Path | None = None

    def look(self) -> tuple[tuple[Found, ...], dict[str, dict[str, Any]]]:
        """What is there now, and the settings of each by id."""
        choices = Choices() if self.data_dir is None else ExtState(self.data_dir).choices()
        found = discover(self.extensions, choices) if self.extensions else ()
        return found, {one.id: dict(choices.of(one.id).settings) for one in found}


class Extensions:
    """The host of one engine, and what preprocessors and control networks left in memory. Used by one thread."""

    def __init__(
        self,
        folders: Folders,
        places: Places,
        device: torch.device,
        memory: Memory | None = None,
        residency: Residency | None = None,
    ) -> None:
        self._folders = folders
        self._models_dir = places.models_dir
        self._device = device
        found, settings = folders.look()
        self.host = Host(found, settings, device, PASSING)
        self.catalogue = ControlCatalogue(places, memory)
        self._residency = residency or Residency(None)
        home = torch.device("cpu") if self._residency.moves else device
        self.shelf = Shelf(home, look=NetworkPrint.of, keeper=self._residency)
        self.maps = MapCache()
        self._kept = Kept()

    def refresh(self, reload: Sequence[str] = ()) -> None:
        """Read folders and state anew, and the code of these ids; only between jobs."""
        found, settings = self._folders.look()
        self.host.update(found, settings, reload)
        self.drop()

    def model_changed(self, event: ModelEvent) -> None:
        """Tell the extensions that run already."""
        for owner in self._listeners():
            function = getattr(self.host.activate(owner).module, "model_changed")  # noqa: B009 (a module's attribute)
            self.host.call("model_changed", owner, function, event)

    @property
    def listens_to_models(self) -> bool:
        """Whether an extension that runs wants to know of another model."""
        return bool(self._listeners())

    def _listeners(self) -> list[str]:
        running = [report.id for report in self.host.report() if report.state == "active"]
        manifests = ((id, self.host.found(id).manifest) for id in running)
        return [id for id, manifest in manifests if manifest is not None and "model_changed" in manifest.hooks]

    def rest(self) -> None:
        """All networks off the device: the job or question that needed them is over."""
        self.shelf.rest()
        self._kept.rest()

    def rest_preprocessors(self) -> None:
        """Their networks off the device: all maps are made."""
        self._kept.rest()

    def drop(self) -> None:
        """Let all networks go."""
        self.shelf.clear()
        self._kept.clear()

    def preprocessors(self, check_cancel: Callable[[], None] = lambda: None) -> HostPreprocessors:
        """check_cancel: raises when the owner of the job stopped it."""
        return HostPreprocessors(
            self.host, self._models_dir, str(self._device), self._kept, check_cancel, self._residency.relieve
        )

    def model_files(self, owner: str) -> ModelFiles:
        """What an extension gets of the model files that it declares."""
        manifest = self.host.found(owner).manifest
        assert manifest is not None

        def path(id: str) -> Path:
            return declared_place(manifest, id, self._models_dir)

        return ModelFiles(self._models_dir / FOLDER, path, partial(self._kept.get, owner), str(self._device))

    def control_tools(
        self,
        executor: Executor,
        picture: Callable[[ImageRef], Image],
        note: Callable[[str], None],
        check_cancel: Callable[[], None],
    ) -> ControlTools:
        """What the control units of a job work with."""
        return ControlTools(
            self.catalogue, self.preprocessors(check_cancel), self._adapters, self.shelf, self.maps, executor.config,
            executor.base, self._device, picture, note,
        )  # fmt: skip

    def control_bytes(self, request: Request, itemsize: int) -> dict[str, int]:
        """What the networks of a job's control units take, by name; those that cannot be read are not counted."""
        found: dict[str, int] = {}
        for name in {unit.model for unit in request.control if unit.enabled and unit.model}:
            with contextlib.suppress(AtelierError):
                found[name] = header_bytes(read_header(self.catalogue.find(name).path), itemsize)
        return found

    def control_hint(self, unit: ControlUnit) -> HintKind:
        """What the network of a unit reads; no weights are loaded.

        Raises:
            NotFound: there is no such file. ModelError: nothing knows it.
        """
        alone = unit.preprocessor != NO_PREPROCESSOR and self.preprocessors().alone(unit.preprocessor)
        if alone or not unit.model:
            return Match("").hint
        model = self.catalogue.find(unit.model)
        _, match = match_of(model, self._adapters(), read_header(model.path))
        return match.hint

    def _adapters(self) -> list[OwnedKind]:
        return [OwnedKind(self.host, owner, spec, kind) for owner, spec, kind in self.host.adapters()]
