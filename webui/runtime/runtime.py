"""The one object that the web process is built around. Everything else is handed a part of it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from webui.engine.interface import EngineFactory, EngineLike
from webui.fetch.web import Web
from webui.networks.library import Library
from webui.prompt.styles import Styles
from webui.runtime.database import Database
from webui.runtime.downloads import Downloads
from webui.runtime.extensions import Extensions
from webui.runtime.folder_lock import FolderLock
from webui.runtime.hashing import Hashing
from webui.runtime.inputs import Inputs
from webui.runtime.jobs import Jobs
from webui.runtime.ledger import Ledger
from webui.runtime.model_files import ModelFiles
from webui.runtime.outputs import Outputs
from webui.runtime.prepare import Desk, Models
from webui.runtime.questions import Questions
from webui.runtime.records import Records
from webui.runtime.runner import Runner
from webui.runtime.settings import Settings
from webui.runtime.steering import Steering
from webui.runtime.styles import StyleBook
from webui.schema.resolve import default_model


class Runtime:
    """Jobs, pictures in and out, and models of one server, with the engine that draws.

    models: the checkpoints at hand; None: those of `settings.places`.

    Raises:
        FolderInUse: another server uses the data folder. DiskError: it cannot be used.
    """

    def __init__(self, settings: Settings, engine: EngineFactory, models: Models | None = None) -> None:
        self.settings = settings
        self._lock = FolderLock(settings.data_dir)
        self.library = Library.of(settings.places, settings.data_dir)
        self.catalogue: Models = models or self.library.checkpoints
        try:
            self._open(engine)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, engine: EngineFactory) -> None:
        settings = self.settings
        self._database = Database(settings.database)
        records = Records(self._database)
        self.inputs = Inputs(settings.inputs_dir)
        self.outputs = Outputs(settings.output_dir.resolve(), records)
        self._ledger = Ledger(records, settings.max_queued, settings.max_queued_per_owner)
        wanted = self.library if settings.hashing else None
        self.hashing = Hashing(self.catalogue, wanted, lambda: self._runner.busy, records.used_models)
        self.extensions = Extensions(settings.extensions_dirs, settings.data_dir, settings.extensions_locked)
        web = Web(settings.offline, private=not settings.exposed)
        self.model_files = ModelFiles(self.library, settings.data_dir, web, self.hashing, settings.extensions_locked)
        self.downloads = Downloads(self.extensions, settings.models_dir, offline=settings.offline)
        self.styles = StyleBook(
            Styles.beside(settings.places.prompts), settings.extensions_locked, Styles.beside(settings.models_dir).files
        )
        self.steering = Steering(self.library.controls, self.extensions, self.catalogue, self.library.named)
        self._runner = Runner(self._ledger, engine, self.catalogue, self.hashing, self.inputs, self.outputs)
        self.desk = Desk(self.catalogue, self.inputs, self.steering, settings.default_model)
        self.jobs = Jobs(self._ledger, self._runner, self.desk)
        self.questions = Questions(self._runner.engine, self.inputs, self.desk)
        self.extensions.connect(self._runner.engine.refresh_extensions)
        self._runner.start()

    @property
    def engine(self) -> EngineLike:
        """The engine, to be asked whether it is ready."""
        return self._runner.engine

    @property
    def default_model(self) -> str:
        """The model that a request without one means. Raises NotFound when there is no usable model."""
        return default_model(self.catalogue.list(), self.settings.default_model)

    def close(self) -> None:
        """Stop the engine. A running job counts as interrupted; jobs that wait go on at the next start."""
        self._ledger.close()
        self.hashing.close()
        self.downloads.close()
        self.model_files.close()
        self._runner.stop()
        self.outputs.close()
        self._database.close()
        self.library.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
