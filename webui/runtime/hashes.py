"""The sha256 of model files, for the text of their pictures: read in the background, once per file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from webui.checkpoints.files import stamp_of
from webui.runtime.records import Records
from webui.schema.errors import AtelierError
from webui.schema.results import ModelInfo

log = logging.getLogger(__name__)


class Hashed(Protocol):
    """What can be hashed (`webui.checkpoints.catalogue.Catalogue`)."""

    def path(self, name: str) -> Path:
        """The file of a model. Raises NotFound."""

    def sha256(self, name: str, cancelled: Callable[[], bool]) -> str | None:
        """The sha256 of a model's file; None when cancelled on the way. Raises ModelError, NotFound."""


class Hashes:
    """One thread that reads model files."""

    def __init__(self, models: Hashed, records: Records) -> None:
        self._models = models
        self._records = records
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashes")

    def complete(self, info: ModelInfo) -> Future[ModelInfo]:
        """The same with its sha256; without where the file cannot be read."""
        return self._thread.submit(self._complete, info)

    def close(self) -> None:
        """Give up what is being read."""
        self._closed.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _complete(self, info: ModelInfo) -> ModelInfo:
        if info.sha256 is not None:
            return info
        try:
            return info.model_copy(update={"sha256": self._sha256(info.name)})
        except (AtelierError, OSError) as error:
            log.warning("the hash of %s is not known: %s", info.name, error)
            return info

    def _sha256(self, name: str) -> str | None:
        path = self._models.path(name).resolve()
        time, size, *_ = stamp_of(path)
        stamp = f"{size} {time}"
        known = self._records.hash_of(path, stamp)
        if known is not None:
            return known
        digest = self._models.sha256(name, self._closed.is_set)
        if digest is not None:
            self._records.keep_hash(path, stamp, digest)
        return digest
