"""Model files that extensions declare, fetched in the background, one after another, when the user says so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from webui.ext.manifest import Manifest, ModelFile
from webui.ext.weights import ANYWHERE, fetch_model, files_of, is_there, size_of
from webui.runtime.extensions import Extensions
from webui.schema.errors import AtelierError, NotFound

Fetch = Callable[..., None]


@dataclass(frozen=True)
class Fetching:
    """How far a model is. total: bytes of the present file, 0 where nobody knows. error: why it ended."""

    done: int = 0
    total: int = 0
    running: bool = True
    error: str = ""


class _Closed(Exception):
    """The server ends: what has come is kept for the next time."""


class Downloads:
    """fetch: as `webui.ext.weights.fetch_model`; offline: nothing is asked of the network."""

    def __init__(
        self, extensions: Extensions, models_dir: Path, fetch: Fetch | None = None, offline: bool = False
    ) -> None:
        self._extensions = extensions
        self._models_dir = models_dir
        self._fetch = fetch or partial(fetch_model, web=replace(ANYWHERE, offline=offline))
        self._states: dict[tuple[str, str], Fetching] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="downloads")

    def start(self, id: str, models: Sequence[str]) -> None:
        """Fetch these models of an extension; those that are there or on their way are left alone.

        Raises:
            Forbidden: the server is locked. NotFound: there is no such extension or model.
        """
        self._extensions.may_change()
        manifest = self._extensions.find(id).manifest
        declared = {model.id: model for model in manifest.models} if manifest else {}
        if unknown := [name for name in models if name not in declared]:
            raise NotFound(f"The extension {id!r} declares no model {unknown[0]!r}.")
        for name in models:
            with self._lock:
                state = self._states.get((id, name))
                if (state and state.running) or is_there(declared[name], self._models_dir):
                    continue
                self._states[id, name] = Fetching()
            self._worker.submit(self._run, (id, name), declared[name])

    def describe(self, manifest: Manifest) -> list[dict[str, Any]]:
        """The models of an extension: what they are, whether they are there, and how far they are."""
        return [self._describe(manifest.id, model) for model in manifest.models]

    def missing(self, manifest: Manifest, models: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these models that are not there yet."""
        return [told for told in self.describe(manifest) if told["id"] in models and not told["there"]]

    def close(self) -> None:
        self._closed.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _describe(self, id: str, model: ModelFile) -> dict[str, Any]:
        state = self._states.get((id, model.id), Fetching(running=False))
        return {
            "id": model.id, "file": model.file, "bytes": size_of(model), "license": model.license,
            "repository": model.repository or files_of(model, self._models_dir)[0].url,
            "there": is_there(model, self._models_dir), "done": state.done, "total": state.total,
            "running": state.running, "error": state.error,
        }  # fmt: skip

    def _run(self, key: tuple[str, str], model: ModelFile) -> None:
        def progress(_file: str, done: int, total: int) -> None:
            if self._closed.is_set():
                raise _Closed
            self._states[key] = Fetching(done, total)

        error = ""
        with contextlib.suppress(_Closed):
            try:
                self._fetch(model, self._models_dir, progress)
            except AtelierError as fault:
                error = str(fault)
        self._states[key] = Fetching(running=False, error=error)
