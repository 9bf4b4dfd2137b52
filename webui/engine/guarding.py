"""Watches over what extension code may leave behind in this process, and cleans up after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from webui.engine.models import Models
from webui.ext.guard import Leak, ModelPrint, ProcessPrint
from webui.ext.host import Host


class Guarding:
    """For one job, or one question. `arm` before any code of an extension runs, `check` after the last of it."""

    def __init__(self, models: Models, host: Host) -> None:
        self._models = models
        self._host = host
        self._process: ProcessPrint | None = None
        self._print: ModelPrint | None = None
        self._casts = 0

    def arm(self) -> None:
        """Remember how things are, once."""
        if self._process is None:
            self._process = ProcessPrint.now()
            self.model_loaded()

    def model_loaded(self) -> None:
        """The program itself loaded a model: what was known of the one before is void."""
        modules = self._models.modules
        if self._process is not None:
            self._print = ModelPrint.of(modules) if modules else None
            self._casts = self._models.casts

    def check(self, suspects: Sequence[str], note: Callable[[str], None]) -> str:
        """Find what was left changed and undo it: settings are put back, patched models dropped.

        suspects: the extensions whose code ran. Where it can only be one, it runs no more until it is reloaded.
        Returns why this process should not go on after the present job, "" where it may.
        """
        if self._process is None:
            return ""
        leaks = self._process.heal() + self._model_leaks()
        if not leaks:
            return ""
        named = " or ".join(f'"{id}"' for id in suspects) or "code of an extension"
        said = f"{'; '.join(leak.what for leak in leaks)}, by the extension {named}"
        note(f"Something was left behind and has been undone: {said}.")
        if len(suspects) == 1:
            self._host.fail(suspects[0], f"left something behind: {'; '.join(leak.what for leak in leaks)}")
        return said if any(leak.process for leak in leaks) else ""

    def _model_leaks(self) -> list[Leak]:
        modules = self._models.modules
        if self._print is None or not modules:
            return []
        moved = frozenset({"vae"}) if self._models.casts != self._casts else frozenset[str]()
        leaks = self._print.leaks(modules, moved)
        if leaks:
            self._models.unload()
        return leaks
