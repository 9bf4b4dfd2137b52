"""Watches over what extension code may leave behind in this process, and cleans up after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from webui.control.shelf import Shelf
from webui.engine.models import Models
from webui.ext.guard import Leak, ModelPrint, ProcessPrint, some
from webui.ext.host import Host

NOBODY = ""
"""Whom a change is laid to that one of several may have made."""


@dataclass(frozen=True)
class Verdict:
    """said: what was left behind and by whom, "" where all is well. restart: whether this process should end.
    open: whether some of it cannot be laid at one door, so that the next jobs should be watched closely."""

    said: str = ""
    restart: bool = False
    open: bool = False


class Guarding:
    """For one job, or one question. `arm` before any code of an extension runs, `check` after the last of it.

    several: whether more than one extension takes part, so that it must be found out which of them did something.
    closely: look at everything after every call of their code; else functions and models, which take milliseconds, are
    looked at after the first call of each hook and after each part of `open_pass`.
    shelf: the control networks, which are looked after too where it is given.
    """

    def __init__(self, models: Models, host: Host, closely: bool = False, shelf: Shelf | None = None) -> None:
        self.several = False
        self._shelf = shelf
        self._models = models
        self._host = host
        self._closely = closely
        self._process: ProcessPrint | None = None
        self._print: ModelPrint | None = None
        self._casts = 0
        self._changed: frozenset[str] = frozenset()
        self._left: list[str] = []
        self._looked: set[tuple[str, str]] = set()
        self._settings: dict[str, str] = {}
        self._patches: dict[str, str] = {}

    @property
    def armed(self) -> bool:
        """Whether code of an extension may have run."""
        return self._process is not None

    def arm(self) -> None:
        """Remember how things are, once."""
        if self._process is None:
            self._process = ProcessPrint.now()
            self._host.look(self._look_before, self._look)
            self.model_loaded()

    def model_loaded(self) -> None:
        """The program itself loaded a model: what was known of the one before is void."""
        modules = self._models.modules
        if self._process is not None:
            self._print = ModelPrint.of(modules) if modules else None
            self._changed = self._models.changed
            self._casts = self._models.casts

    def model_leaves(self) -> None:
        """Another model is to be the present one: this one is looked at for the last time, and dropped where it was
        changed, so that it does not come back so."""
        changed = self._model_changes() if self._process is not None else []
        if changed:
            self._left += changed
            self._models.drop_present()

    def check(self, suspects: Sequence[str], note: Callable[[str], None]) -> Verdict:
        """Find what was left changed and undo it: settings are put back, a patched model is dropped. Who asks drops the
        control networks where there was anything.

        suspects: the extensions whose code ran. Those that are known to have done it run no more until they are
        reloaded.
        """
        if self._process is None:
            return Verdict()
        self._host.look(None, None)
        changed = self._model_changes()
        leaks = self._process.heal() + [Leak(what) for what in (*self._left, *changed, *self._network_changes())]
        if changed:
            self._models.unload()
        if not leaks:
            return Verdict()
        by, unknown = self._culprits(leaks, suspects)
        for id, own in by.items():
            self._host.fail(id, f"left something behind: {some(own)}")
        sentences = [f'{some(own)}, by the extension "{id}"' for id, own in by.items()]
        if unknown:
            named = " or ".join(f'"{id}"' for id in suspects) or "code of an extension"
            sentences.append(f"{some(unknown)}, by the extension {named}")
        note(f"Something was left behind and has been undone: {'; '.join(sentences)}.")
        return Verdict("; ".join(sentences), any(leak.process for leak in leaks), bool(unknown))

    def _culprits(self, leaks: Sequence[Leak], suspects: Sequence[str]) -> tuple[dict[str, list[Leak]], list[Leak]]:
        """Extension -> what it is known to have left behind; and what cannot be laid at one door."""
        by: dict[str, list[Leak]] = {}
        unknown: list[Leak] = []
        known = self._settings | self._patches
        for leak in leaks:
            owner = known.get(leak.what) or (suspects[0] if len(suspects) == 1 else None)
            (unknown if owner is None else by.setdefault(owner, [])).append(leak)
        return by, unknown

    def _look(self, owner: str, what: str) -> None:
        """After a call of an extension's code: what is another than before, it has changed."""
        assert self._process is not None
        self._settings = blamed(self._settings, self._process.changed_settings(), owner)
        if self._closely or self._is_looked_at(owner, what):
            self._looked.add((owner, what))
            self._patches = blamed(self._patches, self._changes(), owner)

    def _look_before(self, owner: str, what: str) -> None:
        """Before a call after which everything is looked at: what is another already, one of the calls that were not
        looked after has changed."""
        if not self._closely and self._is_looked_at(owner, what):
            self._patches = blamed(self._patches, self._changes(), NOBODY)

    def _is_looked_at(self, owner: str, what: str) -> bool:
        """Whether functions and models are looked at after this call, though not after each."""
        return self.several and ((owner, what) not in self._looked or what == "open_pass")

    def _changes(self) -> list[str]:
        assert self._process is not None
        models = [*self._model_changes(self._closely), *self._network_changes(self._closely)]
        return [*self._process.replaced_functions(), *models]

    def _model_changes(self, sampled: bool = True) -> list[str]:
        modules = self._models.modules
        if self._print is None or not modules:
            return []
        changed = self._changed | self._models.changed  # a question may be answered while networks stand
        moved = changed | ({"vae"} if self._models.casts != self._casts else frozenset())
        return self._print.changes(modules, moved, sampled, placed=not self._models.memory.moves)

    def _network_changes(self, sampled: bool = True) -> list[str]:
        return self._shelf.changes(sampled) if self._shelf is not None else []


def blamed(known: Mapping[str, str], found: Sequence[str], owner: str) -> dict[str, str]:
    """Each change that is there now, and who made it: the one it is known of, else `owner`."""
    return {what: known.get(what, owner) for what in found}
