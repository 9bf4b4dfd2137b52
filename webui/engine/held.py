"""Checkpoints that are loaded: the present one, and those that may come back without being read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.vae_load import load_vae
from webui.engine.devices import Placement
from webui.engine.executor import Executor
from webui.engine.memory.keeping import too_many
from webui.engine.memory.parts import bytes_of
from webui.engine.memory.residency import Residency
from webui.nn.streaming import weights_of
from webui.nn.vae import VAE

VaeFile = tuple[Path, Stamp]


@dataclass(eq=False)
class HeldCheckpoint:
    """One of them. vae: the file of the VAE that is used, None: its own. own_vae: that one, while another is used."""

    name: str
    stamp: Stamp
    executor: Executor
    vae: VaeFile | None = None
    own_vae: VAE | None = None

    @property
    def bytes(self) -> int:
        """What it takes of the machine's memory; files that are mapped count, too."""
        own = 0 if self.own_vae is None else bytes_of(weights_of(self.own_vae))
        return self.executor.parts.bytes + own + self.executor.worn.kept_bytes

    def use_vae(self, wanted: VaeFile | None, placement: Placement) -> None:
        """Put the VAE of a file in the place of its own, or that back. Raises ModelError."""
        if wanted is None:
            assert self.own_vae is not None
            self.executor.use_vae(self.own_vae)
            self.vae = self.own_vae = None
            return
        loaded = load_vae(wanted[0], self.executor.config.vae, placement.dtype, "cpu")
        own = self.own_vae or self.executor.model.vae
        self.executor.use_vae(loaded)
        self.vae, self.own_vae = wanted, own


class Garage:
    """All of them. budget: bytes of the machine's memory; the present one may take more. memory: of the device."""

    def __init__(self, budget: int, memory: Residency) -> None:
        self.present: HeldCheckpoint | None = None
        self.budget = budget
        self._memory = memory
        self._held: OrderedDict[str, HeldCheckpoint] = OrderedDict()

    def __iter__(self) -> Iterator[HeldCheckpoint]:
        """The least recently used first."""
        return iter([*self._held.values()])

    def find(self, name: str, path: Path) -> HeldCheckpoint | None:
        """The one of this name, where its file is still the same."""
        held = self._held.get(name)
        return held if held is not None and held.stamp == stamp_of(path) else None

    def make_room(self, coming: int, free: int | None) -> bool:
        """Let go of what another one of so many bytes leaves no room for, the least recently used first. Whether any
        went.

        free: bytes that the machine has left, None where that is not known.
        """
        held = list(self)
        gone = held[: too_many([one.bytes for one in held], coming, self.budget, free)]
        for one in gone:
            self.drop(one)
        return bool(gone)

    def add(self, held: HeldCheckpoint) -> None:
        """A checkpoint that was just read; one of its name from an older file goes."""
        if held.name in self._held:
            self.drop(self._held[held.name])
        self._held[held.name] = held

    def use(self, held: HeldCheckpoint) -> None:
        """Let this one be the present one. What stands on the one before comes off it."""
        if self.present is not None and self.present is not held:
            self.present.executor.job_over()
            self.present.executor.worn.forget()
        self.present = held
        self._held.move_to_end(held.name)

    def drop(self, held: HeldCheckpoint) -> None:
        """Let one go."""
        self._memory.home(list(held.executor.parts), pause=False)
        self._held.pop(held.name, None)
        if self.present is held:
            self.present = None

    def drop_idle(self) -> bool:
        """Let all go but the present one; whether there were any."""
        idle = [one for one in self if one is not self.present]
        for one in idle:
            self.drop(one)
        return bool(idle)

    def clear(self) -> None:
        """Let all go."""
        for one in self:
            self.drop(one)
