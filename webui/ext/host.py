"""The extensions of an engine process: imported when they are first needed, called in order, named when they fail."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from webui.ext.app import App
from webui.ext.calls import CURE, Calls, is_observer
from webui.ext.discover import READY, Found, unfit
from webui.ext.loader import Loader, describe, package_of, settings_by_name
from webui.ext.manifest import AdapterSpec, Manifest, PreprocessorSpec, read_manifest
from webui.ext.order import id_of, needed
from webui.ext.params import suggest, values_of
from webui.ext.report import ExtensionReport, RunState, Timing
from webui.ext.signatures import hook_faults, preprocessor_fault
from webui.schema.errors import AtelierError, BadRequest, ExtensionError, ManifestError, NotFound

Function = Callable[..., Any]
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Active:
    """An extension that was imported and set up."""

    id: str
    manifest: Manifest
    module: ModuleType
    app: App


@dataclass
class _Entry:
    """What the host remembers of one extension. broken: why it could not be activated, or must not run any more."""

    found: Found
    active: Active | None = None
    broken: str = ""
    load_seconds: float = 0.0
    services: dict[str, Any] = field(default_factory=dict)


class Host:
    """Runs extensions. It belongs to the thread that makes the model calls.

    found: from `discover`. settings: by id, what the user set. device: where extensions compute.
    passing: exceptions of the core that go through extensions unchanged.
    """

    def __init__(
        self,
        found: Sequence[Found],
        settings: Settings | None = None,
        device: Any = "cpu",
        passing: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._device = device
        self._settings = dict(settings or {})
        self._loader = Loader()
        self._calls = Calls(passing)
        self._entries = {id: _Entry(one) for id, one in _keyed(found).items()}

    # what there is

    @property
    def ready(self) -> tuple[str, ...]:
        """Ids that may run, in running order."""
        return tuple(id for id, entry in self._entries.items() if entry.found.state == READY)

    def found(self, id: str) -> Found:
        """Raises NotFound."""
        return self._entry(id).found

    def settings_of(self, id: str) -> dict[str, Any]:
        """The settings of an extension by key, defaults filled in. A stored value that no longer fits is left out."""
        manifest = self._manifest(id)
        given = self._settings.get(id, {})
        fitting = {param.id: given[param.id] for param in manifest.settings if param.id in given}
        return values_of(
            manifest.settings,
            {param.id: fitting[param.id] for param in manifest.settings
             if param.id in fitting and not param.fault(fitting[param.id])},
        )  # fmt: skip

    def report(self) -> tuple[ExtensionReport, ...]:
        """State, reason, load time and time per hook of every extension."""
        return tuple(self._report(id, entry) for id, entry in list(self._entries.items()))

    def _report(self, id: str, entry: _Entry) -> ExtensionReport:
        fault = entry.broken or self._calls.last_fault(id)
        state: RunState = entry.found.state
        if state == READY and (fault or entry.active):
            state = "failed" if fault else "active"
        return ExtensionReport(
            entry.found.id, state, fault or entry.found.reason, entry.load_seconds, self._calls.times(id),
            self._calls.switched_off(id),
        )  # fmt: skip

    # what extensions offer

    def hooks(self, name: str) -> list[tuple[str, Function]]:
        """(id, function) of all extensions that have this hook, in running order. Functions go to `call` or `running`.

        Raises:
            ExtensionError: one of them cannot be activated, and the hook is not an observer.
        """
        found = []
        for id in self.ready:
            if name in self._manifest(id).hooks and not self._calls.is_off(id, name):
                try:
                    found.append((id, getattr(self.activate(id).module, name)))
                except ExtensionError as error:
                    if not is_observer(name):
                        raise
                    self._calls.note(str(error))
        return found

    def preprocessor(self, id: str) -> tuple[PreprocessorSpec, Function]:
        """A preprocessor's declaration and its function: (image, *, parameters, ctx if it asks for it) -> map.

        Calling it is measured, and an error names the extension.
        Raises:
            BadRequest: there is none of this name, or its extension does not run.
            ExtensionError: its extension cannot be activated.
        """
        owner = self.owner_of(id)
        spec = next(spec for spec in self._manifest(owner).preprocessors if spec.id == id)
        function = self._resolve(owner, spec.entry)
        if fault := preprocessor_fault(spec, function):
            raise ExtensionError(f'Extension "{owner}": {fault}.', CURE)
        return spec, self._watched(owner, f"preprocessor {id}", function)

    def owner_of(self, preprocessor: str) -> str:
        """The id of the extension that offers a preprocessor. Raises BadRequest."""
        offers = {spec.id: id for id, entry in self._entries.items() if entry.found.manifest
                  for spec in entry.found.manifest.preprocessors if entry.found.state == READY}  # fmt: skip
        if preprocessor in offers:
            return offers[preprocessor]
        for entry in self._entries.values():
            if entry.found.manifest and any(spec.id == preprocessor for spec in entry.found.manifest.preprocessors):
                one = entry.found
                raise BadRequest(f'The preprocessor "{preprocessor}" belongs to the extension "{one.id}", which is '
                                 f"{one.state}: {one.reason}.")  # fmt: skip
        raise BadRequest(f'There is no preprocessor "{preprocessor}"{suggest(preprocessor, offers)}.')

    def adapters(self) -> list[tuple[str, AdapterSpec, Any]]:
        """(id, declaration, class) of all control adapters in running order. An extension that cannot be activated is
        left out with a note: another one may know the file."""
        found = []
        for id in self.ready:
            for spec in self._manifest(id).adapters:
                try:
                    found.append((id, spec, self._resolve(id, spec.entry)))
                except ExtensionError as error:
                    self._calls.note(str(error))
        return found

    def route(self, id: str, name: str) -> Function:
        """The function behind a route. Raises NotFound, ExtensionError."""
        manifest = self._manifest(id)
        spec = next((route for route in manifest.routes if route.name == name), None)
        if spec is None or self._entry(id).found.state != READY:
            raise NotFound(f'The extension "{id}" has no route "{name}".')
        return self._watched(id, f"route {name}", self._resolve(id, spec.entry))

    # calling

    def call(self, hook: str, owner: str, function: Function, *given: Any, **named: Any) -> Any:
        """Call a hook's function; `Calls.run` says what becomes of its errors. An observer that failed gives None."""
        return self._calls.run(owner, hook, self.found(owner).folder, function, *given, **named)

    def running(self, hook: str, owner: str) -> contextlib.AbstractContextManager[bool]:
        """As `call`, for a block of code such as a step of a generator."""
        return self._calls.running(owner, hook, self.found(owner).folder)

    def note(self, text: str) -> None:
        """Leave a note for the user of the present job."""
        self._calls.note(text)

    def take_notes(self) -> tuple[str, ...]:
        """The notes since the last time this was asked, for the job's result."""
        return self._calls.take_notes()

    def times(self) -> dict[str, Mapping[str, Timing]]:
        """id -> what was called -> how often and how long, since the start."""
        return {id: times for id in self._entries if (times := self._calls.times(id))}

    def _watched(self, owner: str, what: str, function: Function) -> Function:
        @functools.wraps(function)
        def watched(*given: Any, **named: Any) -> Any:
            return self.call(what, owner, function, *given, **named)

        return watched

    # life

    def activate(self, id: str) -> Active:
        """Import an extension and set it up, once; those that it needs first.

        Raises:
            ExtensionError: it is not ready, or its code cannot be imported or set up; the message names file and line.
        """
        entry = self._entry(id)
        if entry.active is not None and not entry.broken:
            return entry.active
        if entry.found.state != READY:
            raise ExtensionError(f'Extension "{id}" is {entry.found.state}: {entry.found.reason}.')
        if not entry.broken:
            for other in needed(self._manifest(id)):
                self.activate(other)
            start = time.perf_counter()
            self._import(id, entry)
            entry.load_seconds = time.perf_counter() - start
        if entry.broken or entry.active is None:
            raise ExtensionError(f'Extension "{id}" {entry.broken}.', CURE)
        return entry.active

    def _import(self, id: str, entry: _Entry) -> None:
        manifest, folder = self._manifest(id), entry.found.folder
        try:
            module = self._loader.load(id, folder, manifest.entry)
        except (Exception, SystemExit) as error:
            entry.broken = f"cannot be loaded: {describe(error, folder)}"
            return
        if faults := list(hook_faults(manifest, module)):
            entry.broken = f"cannot be used: {faults[0]}"
            self._loader.unload(package_of(module))
            return
        app = self._app(id, entry)
        entry.active = Active(id, manifest, module, app)
        if "setup" in manifest.hooks:
            try:
                self.call("setup", id, module.setup, app)
            except AtelierError as error:
                entry.broken = self._calls.last_fault(id) or error.message
                self._drop(entry)

    def _app(self, id: str, entry: _Entry) -> App:
        def service(name: str) -> Any:
            owner, _, thing = name.partition(".")
            declared = (*needed(self._manifest(id)), *map(id_of, self._manifest(id).dependencies.optional))
            if owner not in declared:
                raise LookupError(f'"{owner}" is not declared in [dependencies]')
            self.activate(owner)
            if thing not in self._entry(owner).services:
                raise LookupError(f'the extension "{owner}" offers no "{thing}"')
            return self._entry(owner).services[thing]

        settings = settings_by_name(id, self.settings_of(id))
        return App(id, entry.found.folder, self._device, settings, entry.services.__setitem__, service)

    def fail(self, id: str, reason: str) -> None:
        """Let an extension run no more until it is reloaded: the leak guard's verdict."""
        self._entry(id).broken = reason

    def disable(self, id: str) -> None:
        """Tear an extension down and forget its code. Only between jobs."""
        entry = self._entry(id)
        self._deactivate(id, entry)
        entry.found = replace(entry.found, state="disabled", reason="it is switched off")

    def reload(self, id: str) -> None:
        """Forget an extension's code, its faults and its manifest; all are read anew. Only between jobs."""
        entry = self._entry(id)
        self._deactivate(id, entry)
        try:
            manifest = read_manifest(entry.found.folder)
        except ManifestError as error:
            entry.found = replace(entry.found, state="invalid", reason=str(error))
            return
        reason = unfit(manifest) or (f'its id is now "{manifest.id}"' if manifest.id != id else "")
        was_bad = entry.found.state == "invalid" and not reason
        entry.found = replace(
            entry.found, manifest=manifest, state="blocked" if reason else READY if was_bad else entry.found.state,
            reason=reason or entry.found.reason,
        )  # fmt: skip

    def update(self, found: Sequence[Found], settings: Settings | None = None, reload: Sequence[str] = ()) -> None:
        """Take over what `discover` says now. Extensions that are gone, off, changed or named in `reload` are torn
        down; the others keep what they have. Only between jobs."""
        new_settings = self._settings if settings is None else dict(settings)
        entries = {}
        for id, one in _keyed(found).items():
            entry = self._entries.pop(id, None)
            same = entry is not None and entry.found == one and id not in reload
            if entry is None or not same or self._settings.get(id) != new_settings.get(id):
                if entry is not None:
                    self._deactivate(id, entry)
                entry = _Entry(one)
            entries[id] = entry
        for id, entry in self._entries.items():
            self._deactivate(id, entry)
        self._entries, self._settings = entries, new_settings

    def close(self) -> None:
        """Tear everything down, last activated or not."""
        for id, entry in reversed(self._entries.items()):
            self._deactivate(id, entry)
        self._loader.close()

    def _deactivate(self, id: str, entry: _Entry) -> None:
        if entry.active is not None:
            if "teardown" in entry.active.manifest.hooks and not entry.broken:
                teardown = entry.active.module.teardown
                self._calls.run(id, "teardown", entry.found.folder, teardown, entry.active.app)
            self._drop(entry)
        entry.broken = ""
        self._calls.forgive(id)

    def _drop(self, entry: _Entry) -> None:
        if entry.active is not None:
            package = package_of(entry.active.module)
            entry.active = None
            entry.services.clear()
            self._loader.unload(package)

    # small things

    def _resolve(self, id: str, entry: str) -> Any:
        """ "module:name" of an extension. Raises ExtensionError."""
        module, _, name = entry.partition(":")
        active = self.activate(id)
        with self.running(f"import of {module}", id):
            home = self._loader.module(active.module, module)
        if not hasattr(home, name):
            raise ExtensionError(f'Extension "{id}": {module}.py has no "{name}".', CURE)
        return getattr(home, name)

    def _entry(self, id: str) -> _Entry:
        if id not in self._entries:
            raise NotFound(f'There is no extension "{id}"{suggest(id, self._entries)}.')
        return self._entries[id]

    def _manifest(self, id: str) -> Manifest:
        manifest = self._entry(id).found.manifest
        if manifest is None:
            raise ExtensionError(f'Extension "{id}" is invalid: {self._entry(id).found.reason}.')
        return manifest


def _keyed(found: Sequence[Found]) -> dict[str, Found]:
    """By id; where another folder has the same one, by the place too. Those that are ready come first in `found`."""
    keyed: dict[str, Found] = {}
    for one in found:
        keyed[one.id if one.id not in keyed else f"{one.id} in {one.folder}"] = one
    return keyed
