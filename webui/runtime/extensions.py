"""Extensions as the web process knows them: folders, manifests and the user's choices. None of their code runs here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.ext.discover import HOME, READY, Found, discover
from webui.ext.manifest import Manifest, PreprocessorSpec
from webui.ext.params import suggest, values_of
from webui.ext.state import Choice, ExtState
from webui.schema.errors import AtelierError, BadRequest, Forbidden, NotFound

LOCKED = (
    "This server can be reached by others, so extensions cannot be changed here. Change them on its own computer with "
    "the command line (launch.py ext), or start it with --allow-remote-extensions."
)
Refresh = Callable[[Sequence[str]], None]
"""Tells the engine to read folders and choices anew before its next job, and the code of these ids."""
Values = dict[str, Any]
"""Field -> value, of one extension."""


class Extensions:
    """What is in the folders, and what the user wants of it.

    folders: where extensions are looked for; new ones are installed into the last. locked: nothing may be changed.
    """

    def __init__(self, folders: Sequence[Path], data_dir: Path, locked: bool = False) -> None:
        self.folders = tuple(folders) or (HOME,)
        self.locked = locked
        self._state = ExtState(data_dir)
        self._refresh: Refresh = lambda _ids: None
        self._lock = threading.Lock()
        self._found = self._look()

    def connect(self, refresh: Refresh) -> None:
        """From now on tell the engine of changes."""
        self._refresh = refresh

    def list(self) -> tuple[Found, ...]:
        """All folders: the ready ones in running order, then the others."""
        return self._found

    def find(self, id: str) -> Found:
        """The extension of this id; of several folders that claim it, the one that may run. Raises NotFound."""
        named = [found for found in self._found if found.id == id]
        if not named:
            raise NotFound(f"There is no extension {id!r}.", "The tab Extensions lists those that are there.")
        return min(named, key=lambda found: found.state != READY)

    def choice(self, id: str) -> Choice:
        """What the user said of it."""
        return self._state.choices().of(id)

    @property
    def ready(self) -> tuple[Manifest, ...]:
        """The manifests of those that run, in running order."""
        return tuple(found.manifest for found in self._found if found.manifest is not None and found.state == READY)

    @property
    def preprocessors(self) -> dict[str, tuple[Manifest, PreprocessorSpec]]:
        """id -> its extension and its declaration."""
        return {spec.id: (manifest, spec) for manifest in self.ready for spec in manifest.preprocessors}

    def check(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The values of a request's `ext`, with the defaults of those that an extension names but the request does not.

        Raises:
            BadRequest: an extension is not there or off, or a value breaks its declaration.
        """
        known = {manifest.id: manifest for manifest in self.ready}
        if unknown := [id for id in given if id not in known]:
            raise BadRequest(self._why_not(unknown[0], list(known)), "Switch it on, or leave its values out.")
        return {id: _values(known[id], values) for id, values in given.items()}

    def sort_out(
        self, ext: Mapping[str, Values], absent: Mapping[str, Values]
    ) -> tuple[dict[str, Values], dict[str, Values]]:
        """What a picture tells of extensions, as a request's `ext` (of those that run here) and `absent_ext` (others).

        absent: what that picture itself kept of extensions that had no part in it; they may run here.
        """
        ready = {manifest.id for manifest in self.ready}
        told = {**absent, **ext}
        running = {id: values for id, values in told.items() if id in ready}
        return running, {id: values for id, values in told.items() if id not in ready}

    def refresh(self, reload: Sequence[str] = ()) -> None:
        """Look at the folders again. reload: ids whose code is read anew."""
        with self._lock:
            self._found = self._look()
        self._refresh(reload)

    def enable(self, id: str, allow: bool = False) -> None:
        """Switch on, from the next job. allow: also let third-party code run. Raises Forbidden, NotFound, DiskError."""
        self.may_change()
        self._state.enable(self.find(id).id, allow)
        self.refresh([id])

    def disable(self, id: str) -> None:
        """Switch off, from the next job. Raises Forbidden, NotFound, DiskError."""
        self.may_change()
        self._state.disable(self.find(id).id)
        self.refresh()

    def reload(self, id: str) -> None:
        """Read its files anew before the next job. Raises Forbidden, NotFound."""
        self.may_change()
        self.refresh([self.find(id).id])

    def set_settings(self, id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change some settings; returns all of them. Raises Forbidden, NotFound, BadRequest, DiskError."""
        self.may_change()
        manifest = self.find(id).manifest
        if manifest is None:
            raise BadRequest(f"The extension {id!r} has no manifest that can be read.", "The list says what is wrong.")
        values = values_of(manifest.settings, {**self.settings(id), **changes})
        self._state.set_settings(id, values)
        self.refresh()
        return values

    def settings(self, id: str) -> dict[str, Any]:
        """The settings as they stand, defaults filled in; a stored value that no longer fits is left out."""
        manifest, stored = self.find(id).manifest, self.choice(id).settings
        declared = manifest.settings if manifest is not None else ()
        fitting = {one.id: stored[one.id] for one in declared if one.id in stored and not one.fault(stored[one.id])}
        return values_of(declared, fitting)

    def install(self, work: Callable[[Path], Any]) -> None:
        """Let `work` put a folder into the extensions folder. What is installed is off until it is allowed.

        Raises:
            Forbidden; and what `work` raises.
        """
        self.may_change()
        work(self.folders[-1])
        self.refresh()

    def remove(self, id: str, work: Callable[[Found], Any]) -> None:
        """Let `work` delete the folder of an extension that does not come with the program, and forget its choices.

        Raises:
            Forbidden, NotFound, BadRequest.
        """
        self.may_change()
        found = self.find(id)
        if found.bundled:
            raise BadRequest(f"{found.name} comes with the program.", "Switch it off instead.")
        work(found)
        self._state.forget(found.id)
        self.refresh()

    def _look(self) -> tuple[Found, ...]:
        return discover(self.folders, self._state.choices())

    def may_change(self) -> None:
        """Raises Forbidden where nothing of extensions may be changed."""
        if self.locked:
            raise Forbidden(LOCKED)

    def _why_not(self, id: str, known: Sequence[str]) -> str:
        found = next((found for found in self._found if found.id == id), None)
        if found is None:
            return f"There is no extension {id!r}{suggest(id, known)}."
        return f"The extension {found.name} does not run: {found.reason}."


def _values(manifest: Manifest, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return values_of(manifest.fields, given)
    except AtelierError as error:
        raise BadRequest(f"{manifest.name}: {error.message}", error.cure) from None
