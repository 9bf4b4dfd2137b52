"""What the extensions of an engine process offer (hooks, preprocessors, adapters, routes), and how it is called."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

from webui.ext.calls import CURE, Looker, is_observer
from webui.ext.discover import READY
from webui.ext.entries import Active
from webui.ext.lives import Lives
from webui.ext.loader import describe
from webui.ext.manifest import AdapterSpec, PreprocessorSpec
from webui.ext.params import suggest
from webui.ext.report import Timing
from webui.ext.signatures import preprocessor_fault
from webui.schema.errors import BadRequest, ExtensionError, NotFound

__all__ = ["Active", "Host"]

Function = Callable[..., Any]


class Host(Lives):
    """The extensions of one engine. Everything of theirs that is called goes through here: measured, and named when it
    fails."""

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

    def call(self, hook: str, owner: str, function: Function, *given: Any, **named: Any) -> Any:
        """Call a hook's function; `Calls.run` says what becomes of its errors. An observer that failed gives None."""
        return self._calls.run(owner, hook, self.found(owner).folder, function, *given, **named)

    def running(self, hook: str, owner: str) -> contextlib.AbstractContextManager[bool]:
        """As `call`, for a block of code such as a step of a generator."""
        return self._calls.running(owner, hook, self.found(owner).folder)

    def look(self, before: Looker | None, after: Looker | None) -> None:
        """Have these called before and after each call of an extension's code; None: no more."""
        self._calls.before, self._calls.looker = before, after

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

    def _resolve(self, id: str, entry: str) -> Any:
        """ "module:name" of an extension. Raises ExtensionError."""
        module, _, name = entry.partition(":")
        active = self.activate(id)
        try:
            return getattr(self._loader.module(active.module, module), name)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too
            reason = f"cannot give {entry}: {describe(error, self.found(id).folder)}"
            raise ExtensionError(f'Extension "{id}" {reason}.', CURE) from error
