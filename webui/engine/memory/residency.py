"""What is on the device now: parts come when they are needed, and leave, the least recently used first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from webui.engine.memory.estimates import Corrections, Work
from webui.engine.memory.machine import give_back
from webui.engine.memory.parts import Group, Part
from webui.engine.memory.plan import SAID, Manner, Size, leaving, lower
from webui.nn.out_of_memory import is_out_of_memory
from webui.nn.streaming import Mover, mover_to
from webui.schema.errors import OutOfMemory

T = TypeVar("T")


class Residency:
    """The device of one engine. Used by its worker thread alone.

    mover: None where the device's memory is the machine's, so that nothing ever moves. room: bytes for all that is put
    on the device now, None for any number. spare: lets go of what no job uses, whether there was anything. note: tells
    the user.
    """

    def __init__(
        self,
        mover: Mover | None,
        room: Callable[[], int | None] = lambda: None,
        spare: Callable[[], bool] = lambda: False,
    ) -> None:
        self.manner: Manner = "together"
        self.corrections = Corrections()
        self.note: Callable[[str], None] = lambda line: None
        self._mover = mover
        self._tell_room = room
        self._spare = spare
        self._here: OrderedDict[str, Part] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._lent: dict[int, Part] = {}

    @classmethod
    def on(cls, device: torch.device, room: Callable[[], int | None], spare: Callable[[], bool]) -> Residency:
        """That of a device."""
        return cls(None if device.type == "cpu" else mover_to(device), room, spare)

    @property
    def moves(self) -> bool:
        """Whether weights change their place at all."""
        return self._mover is not None

    @property
    def room(self) -> int | None:
        """Bytes for all that is put on the device now, None for any number."""
        return self._tell_room()

    @property
    def here(self) -> tuple[Part, ...]:
        """The parts that take memory of the device, the least recently used first."""
        return tuple(self._here.values())

    def run(self, parts: Sequence[Part], call: Callable[[], T], work: Work = Work()) -> T:
        """call(), with these parts on the device; again, with less beside them there, where memory runs out.

        work: what it takes beside the weights.

        Raises:
            OutOfMemory: there is not enough even when nothing else is there.
        """
        while True:
            try:
                with self.at_hand(parts, self.corrections.of(work)):
                    return self._measured(parts, call, work)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # outside the handler, whose traceback would keep the tensors of the failed try alive
            if not self._relieved(parts):
                raise OutOfMemory("There is not enough memory for this job.", self.cure)

    @contextmanager
    def at_hand(self, parts: Sequence[Part], working: int = 0) -> Iterator[None]:
        """These parts on the device as long as the block lasts; others leave where they must, none that is in use."""
        self._bring(parts, working)
        self._used.update(part.name for part in parts)
        try:
            yield
        finally:
            self._used.subtract(part.name for part in parts)

    def home(self, parts: Sequence[Part], pause: bool = True) -> None:
        """Let parts be in the machine's memory, where they are changed. pause: they come back soon, mostly the same."""
        for part in parts:
            part.leave(pause=pause)
            if not pause:
                self._here.pop(part.name, None)

    def clear(self, manner: Manner | None = None) -> None:
        """Nothing that is not in use stays on the device; from now on in this manner."""
        self.home([part for part in self.here if not self._used[part.name]], pause=False)
        self.manner = manner or self.manner
        self.give_back()

    def use(self, manner: Manner) -> None:
        """From now on in this manner. What is there in another one leaves."""
        if manner != self.manner:
            self.clear(manner)

    def make_way(self) -> None:
        """Something else is to use the device: what takes turns leaves it."""
        if self.manner != "together":
            self.clear()

    def relieve(self) -> bool:
        """Nothing that is not in use stays on a device that is full; whether there was anything."""
        return self._relieved(())

    def give_back(self) -> None:
        """Hand free memory back."""
        give_back(self._mover.device if self._mover is not None else torch.device("cpu"))

    # networks of others: control networks

    def lend(self, modules: Sequence[nn.Module], call: Callable[[], T], after: bool = False) -> T:
        """call(), as `run`, with modules on the device that came from elsewhere. after: they leave it again at once."""
        if not modules:
            return self.run((), call)
        part = self._lent.get(id(modules[0]))
        if part is None:
            part = self._lent[id(modules[0])] = Part(f"control {id(modules[0])}", modules, "unet")
        try:
            return self.run([part], call)
        finally:
            if after:
                self.home([part], pause=False)

    def rest(self, modules: Sequence[nn.Module]) -> None:
        """The job that was lent them is over."""
        if modules and (part := self._lent.get(id(modules[0]))) is not None:
            self.home([part], pause=False)

    def forget(self, modules: Sequence[nn.Module]) -> None:
        """They are gone."""
        self.rest(modules)
        if modules:
            self._lent.pop(id(modules[0]), None)

    # within

    def _measured(self, parts: Sequence[Part], call: Callable[[], T], work: Work) -> T:
        """call(); what it took at its peak is remembered where the device tells and no weights come meanwhile."""
        device = self._mover.device if self._mover is not None else None
        streams = self.manner == "blocks" and any(part.size.least < part.size.whole for part in parts)
        if device is None or device.type != "cuda" or not work.kind or streams:
            return call()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        answer = call()
        self.corrections.measured(work, torch.cuda.max_memory_allocated(device) - before)
        return answer

    def _bring(self, parts: Sequence[Part], working: int) -> None:
        if self._mover is None:
            return
        coming = [part for part in parts if not (part.here and part.manner == self.manner)]
        if coming:
            self._make_room(parts, working)
        for part in coming:
            self._here[part.name] = part  # before it arrives: what came of it takes memory, whatever happens
            part.arrive(self._mover, self.manner)
        for part in parts:
            self._here.move_to_end(part.name)

    def _make_room(self, parts: Sequence[Part], working: int) -> None:
        room = self.room
        wanted = [part.name for part in parts]
        groups = {part.group for part in parts}
        known = {**self._here, **{part.name: part for part in parts}}
        kin = [name for name, part in self._here.items() if part.group in groups]
        sizes: dict[str, Size] = {name: part.size for name, part in known.items()}
        gone = leaving(list(self._here), wanted, kin, sizes, None if room is None else room - working, self.manner)
        free = [name for name in gone if not self._used[name]]
        self.home([self._here[name] for name in free], pause=False)
        if free:
            self.give_back()

    def _relieved(self, parts: Sequence[Part]) -> bool:
        """Do something about a full device; whether there was anything left to do."""
        names = {part.name for part in parts}
        idle = [part for part in self.here if part.name not in names and not self._used[part.name]]
        self.home(idle, pause=False)
        spared = self._spare()
        following = lower(self.manner) if self._mover is not None and parts else None
        if following == "blocks" and not any(part.size.least < part.size.whole for part in parts):
            following = None
        if following is not None:
            self.home([part for part in parts if not self._used[part.name]], pause=False)
            self.manner = following
            self.note(f"Memory ran out: {SAID[following]}.")
        self.give_back()
        return following is not None or spared or bool(idle)

    @property
    def cure(self) -> str:
        """What the user can do about a full device."""
        if self._mover is None:
            return "Make the picture or the batch smaller, or close other programs that use memory."
        return (
            "Make the picture or the batch smaller, close other programs that use the device, or choose a smaller "
            "model. Started with --lowvram or --dtype float16 the program needs less, as does a picture with Tiled VAE."
        )


def group_of(name: str) -> Group:
    """Of a module of a checkpoint, by its name in `Models.modules`."""
    return "unet" if name == "unet" else "vae" if name == "vae" else "text"
