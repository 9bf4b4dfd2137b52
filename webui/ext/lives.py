"""The lives of extensions in an engine process: imported and set up when first needed, torn down, read anew."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from webui.ext.app import App
from webui.ext.bundled import code_digest
from webui.ext.calls import CURE, Calls
from webui.ext.discover import READY, Found
from webui.ext.entries import Active, Entry, Settings, keyed, used
from webui.ext.faults import Fault, content_of
from webui.ext.loader import Loader, describe, package_of
from webui.ext.manifest import Manifest
from webui.ext.order import needed
from webui.ext.params import suggest, values_of
from webui.ext.report import ExtensionReport, RunState
from webui.ext.signatures import hook_faults
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import AtelierError, ExtensionError, NotFound


class Lives:
    """Holds extensions and brings them from one state to the next. It belongs to the thread that makes the model calls.

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
        self._passing = passing
        self._calls = Calls(passing)
        self._entries = {id: Entry(one) for id, one in keyed(found).items()}

    @property
    def ready(self) -> tuple[str, ...]:
        """Ids that may run, in running order."""
        return tuple(id for id, entry in self._entries.items() if entry.found.state == READY)

    def found(self, id: str) -> Found:
        """The folder, its manifest and its state. Raises NotFound."""
        return self._entry(id).found

    def settings_of(self, id: str) -> dict[str, Any]:
        """The settings of an extension by key, defaults filled in. A stored value that no longer fits is left out."""
        declared, given = self._manifest(id).settings, self._settings.get(id, {})
        return values_of(
            declared, {one.id: given[one.id] for one in declared if one.id in given and not one.fault(given[one.id])}
        )

    def content(self, id: str) -> str:
        """A digest of the extension's code as it runs, for what is kept by content. Raises ExtensionError."""
        return self.activate(id).content

    def report(self) -> tuple[ExtensionReport, ...]:
        """State, reason, load time and time per hook of every extension."""
        return tuple(self._report(id, entry) for id, entry in list(self._entries.items()))

    def _report(self, id: str, entry: Entry) -> ExtensionReport:
        fault = entry.broken or self._calls.last_fault(id)
        state: RunState = entry.found.state
        if state == READY and (fault or entry.active):
            state = "failed" if fault else "active"
        return ExtensionReport(
            entry.found.id, state, fault or entry.found.reason, entry.load_seconds, self._calls.times(id),
            self._calls.switched_off(id),
        )  # fmt: skip

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
            try:
                self._set_up(id, entry)
            finally:
                self._calls.look(id, "import")
            entry.load_seconds = time.perf_counter() - start
        if entry.broken or entry.active is None:
            raise ExtensionError(f'Extension "{id}" {entry.broken}.', CURE)
        return entry.active

    def _set_up(self, id: str, entry: Entry) -> None:
        """Make an entry active, or broken."""
        manifest, folder = self._manifest(id), entry.found.folder
        try:
            module = self._loader.load(id, folder, manifest.entry)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too
            if isinstance(error, self._passing) or is_out_of_memory(error):
                raise
            entry.broken = f"cannot be loaded: {describe(error, folder)}"
            return
        entry.active = Active(id, manifest, module, self._app(id, entry), code_digest(folder))
        try:
            fault = next(hook_faults(manifest, module), "")
            entry.broken = f"cannot be used: {fault}" if fault else self._setup_fault(entry.active)
        except BaseException:
            self._drop(entry)
            raise
        if entry.broken:
            self._drop(entry)

    def _setup_fault(self, active: Active) -> str:
        """Run `setup` where there is one; why it failed."""
        if "setup" in active.manifest.hooks:
            try:
                self._calls.run(active.id, "setup", active.app.folder, active.module.setup, active.app)
            except AtelierError as error:
                return self._calls.last_fault(active.id) or f"failed in setup: {error.message}"
        return ""

    def _app(self, id: str, entry: Entry) -> App:
        def service(name: str) -> Any:
            owner, _, thing = name.partition(".")
            if owner not in used(entry.found):
                raise LookupError(f'"{owner}" is not declared in [dependencies]')
            self.activate(owner)
            if thing not in self._entry(owner).services:
                raise LookupError(f'the extension "{owner}" offers no "{thing}"')
            return self._entry(owner).services[thing]

        settings = {f"{id}.{key}": value for key, value in self.settings_of(id).items()}
        return App(id, entry.found.folder, self._device, settings, entry.services.__setitem__, service)

    def fail(self, id: str, reason: str) -> None:
        """Let an extension run no more until it is reloaded: the leak guard's verdict. It may be gone already."""
        if id in self._entries:
            self._hold(self._entries[id], Fault(reason, self._content_now(id)))

    @property
    def faults(self) -> dict[str, Fault]:
        """What `fail` said of those that could run but for it."""
        entries = self._entries.items()
        return {id: entry.fault for id, entry in entries if entry.fault is not None and entry.found.state == READY}

    def restore(self, faults: Mapping[str, Fault]) -> None:
        """What the process before this one said (`faults`) counts here too, unless the extension was changed since."""
        for id in faults.keys() & set(self.ready):
            if faults[id].content == self._content_now(id):
                self._hold(self._entries[id], faults[id])

    def _hold(self, entry: Entry, fault: Fault) -> None:
        entry.broken, entry.fault = fault.reason, fault

    def _content_now(self, id: str) -> str:
        """Of the code as it runs; where it does not, as it lies there."""
        entry = self._entries[id]
        code = code_digest(entry.found.folder) if entry.active is None else entry.active.content
        return content_of(code, self._settings.get(id, {}))

    def disable(self, id: str) -> None:
        """Tear an extension down and forget its code. Only between jobs."""
        entry = self._entry(id)
        self._deactivate(id, entry)
        entry.found = replace(entry.found, state="disabled", reason="it is switched off")

    def reload(self, id: str) -> None:
        """Forget the code and the faults of an extension, and the code of those that use it. Only between jobs.

        A manifest that was edited comes in with `update`.
        """
        self.update([entry.found for entry in self._entries.values()], reload=[self._entry(id).found.id])

    def update(self, found: Sequence[Found], settings: Settings | None = None, reload: Sequence[str] = ()) -> None:
        """Take over what `discover` says now. Only between jobs.

        Extensions that are gone, off, edited in their manifest or settings, named in `reload`, or use one of these, are
        torn down; the others keep what they have.
        """
        wanted = self._settings if settings is None else dict(settings)
        before, self._entries = self._entries, {}
        renewed: set[str] = set()
        for id, one in keyed(found).items():
            entry = before.get(id)
            same_settings = self._settings.get(id) == wanted.get(id)
            if entry is None or entry.found != one or not same_settings or id in reload or renewed & used(one):
                renewed.add(id)
                entry = Entry(one)
            self._entries[id] = entry
        self._settings = wanted
        for id, entry in reversed(before.items()):
            if self._entries.get(id) is not entry:
                self._deactivate(id, entry)

    def close(self) -> None:
        """Tear everything down, last activated or not."""
        for id, entry in reversed(self._entries.items()):
            self._deactivate(id, entry)
        self._loader.close()

    def _deactivate(self, id: str, entry: Entry) -> None:
        if entry.active is not None:
            if "teardown" in entry.active.manifest.hooks:
                teardown = entry.active.module.teardown
                self._calls.run(id, "teardown", entry.found.folder, teardown, entry.active.app)
            self._drop(entry)
        entry.broken, entry.fault = "", None
        self._calls.forgive(id)

    def _drop(self, entry: Entry) -> None:
        if entry.active is not None:
            package = package_of(entry.active.module)
            entry.active = None
            entry.services.clear()
            self._loader.unload(package)

    def _entry(self, id: str) -> Entry:
        if id not in self._entries:
            raise NotFound(f'There is no extension "{id}"{suggest(id, self._entries)}.')
        return self._entries[id]

    def _manifest(self, id: str) -> Manifest:
        manifest = self._entry(id).found.manifest
        if manifest is None:
            raise ExtensionError(f'Extension "{id}" is invalid: {self._entry(id).found.reason}.')
        return manifest
