"""The checkpoint that draws the present pass of a job: of one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import torch

from webui.checkpoints.reading import unknown_note
from webui.engine.executor import Executor
from webui.engine.extensions import Extensions
from webui.engine.guarding import Guarding
from webui.engine.models import Models
from webui.engine.telling import Telling
from webui.ext.contexts import ModelEvent
from webui.schema.generation import AUTOMATIC_VAE


class Drawing:
    """What a job draws with. Everybody asks for `executor` when there is work to do, and keeps nothing of it: the
    checkpoint of a hires pass may need the room of the first one."""

    def __init__(self, models: Models, extensions: Extensions, guard: Guarding, telling: Telling) -> None:
        self._models = models
        self._extensions = extensions
        self._guard = guard
        self._telling = telling
        self._name, self._vae = "", ""

    @property
    def executor(self) -> Executor:
        """Of the checkpoint that draws now."""
        return self._models.present

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """While the job draws; afterwards nothing that it wanted acts any more, and notes go nowhere."""
        try:
            yield
        finally:
            self._models.job_over()

    def use(self, name: str, vae: str = AUTOMATIC_VAE) -> bool:
        """Draw with this checkpoint and this VAE from now on, loaded where they are not. Whether they are others than
        before."""
        if (name, vae) == (self._name, self._vae):
            return False
        if not self._models.holds(name, vae):
            self._load(name, vae)
        self._name, self._vae = name, vae
        self.executor.note = self._models.memory.note = self._telling.note
        return True

    def _load(self, name: str, vae: str) -> None:
        another, read = not self._models.holds_checkpoint(name), not self._models.has_read(name)
        if another:
            self._guard.model_leaves()
        self._telling.stage(f"loading {name}" if read else f"changing to {name}" if another else "changing the VAE")
        listened = another and self._extensions.listens_to_models
        if listened:
            self._guard.arm()
        try:
            self._telling.timed("load", partial(self._read, name, vae))
        finally:
            self._guard.model_loaded()  # also where its VAE could not be: it is the present one already
        unknown = unknown_note(name, self.executor.model.unknown)
        if read and unknown:
            self._telling.note(unknown)
        if listened:
            event = ModelEvent(name, self.executor.config.family)
            self._telling.timed("model_changed", partial(self._extensions.model_changed, event))

    def _read(self, name: str, vae: str) -> None:
        """Weights that are made in inference mode could not be changed outside of it."""
        with torch.inference_mode(False):
            self._models.executor(name, vae)
