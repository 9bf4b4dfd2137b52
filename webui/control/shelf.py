"""Control networks in memory: loaded once, kept while the checkpoint stays, off the GPU when no job needs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

from webui.checkpoints.control import ControlInfo
from webui.checkpoints.control_catalogue import ControlModel
from webui.checkpoints.header import Header, read_header
from webui.control.adapters import AdapterKind, Base, Match, Network
from webui.control.keeper import Keeper, Simple
from webui.schema.errors import ModelError

KEPT_NETWORKS = 4


class Seen(Protocol):
    """What is remembered of a network since it was read."""

    def changes(self, network: Sequence[nn.Module], sampled: bool) -> list[str]:
        """What is another now, each in words. sampled: also the content of weights, which makes a GPU wait."""


@dataclass(frozen=True)
class Loaded:
    """A control file in memory, and what it is. modules: of its network as it was read; seen: how they were then."""

    adapter: Network
    match: Match
    modules: tuple[nn.Module, ...] = ()
    seen: Seen | None = None


class Shelf:
    """The control networks of one engine. Used by its worker thread alone.

    A job keeps all that it uses, however many; `limit` of them are kept for the next one. look: remembers how a network
    is that was just read. keeper: lends them; they are read to `device`, which is where it has them by default.
    """

    def __init__(
        self,
        device: torch.device,
        limit: int = KEPT_NETWORKS,
        look: Callable[[Sequence[nn.Module]], Seen | None] = lambda _network: None,
        keeper: Keeper | None = None,
    ) -> None:
        self.keeper: Keeper = keeper or Simple(device)
        self._device = device
        self._limit = limit
        self._look = look
        self._base: Base | None = None
        self._loaded: OrderedDict[tuple[Path, int, int], Loaded] = OrderedDict()

    def get(self, model: ControlModel, adapters: Sequence[AdapterKind], base: Base) -> Loaded:
        """The network of a file, loaded now unless it is there. adapters: those that may know it, in order.

        Raises:
            ModelError: no adapter knows the file, or it cannot be loaded.
        """
        if base is not self._base:
            self.clear()  # some are made of the checkpoint's weights, all are of its dtype
            self._base = base
        status = model.path.stat()
        key = model.path, status.st_mtime_ns, status.st_size
        if key not in self._loaded:
            loaded = self.keeper.lend((), partial(load_control, model, adapters, base, self._device))
            modules = tuple(loaded.adapter.modules())
            self._loaded[key] = replace(loaded, modules=modules, seen=self._look(modules))
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def changes(self, sampled: bool = True) -> list[str]:
        """What is another in the networks than when they were read, each in words. sampled: as of `Seen.changes`."""
        looked = [(loaded.seen, loaded.modules) for loaded in self._loaded.values()]
        return [what for seen, modules in looked if seen is not None for what in seen.changes(modules, sampled)]

    def rest(self) -> None:
        """The job is over: the networks that were used last stay, off the device, and the others go."""
        while len(self._loaded) > self._limit:
            _, gone = self._loaded.popitem(last=False)
            self.keeper.forget(gone.adapter.modules())
        for loaded in self._loaded.values():
            self.keeper.rest(loaded.adapter.modules())

    def clear(self) -> None:
        """Let all networks go."""
        for loaded in self._loaded.values():
            self.keeper.forget(loaded.adapter.modules())
        self._loaded.clear()
        self._base = None


def load_control(model: ControlModel, adapters: Sequence[AdapterKind], base: Base, device: torch.device) -> Loaded:
    """The network of a file. Raises ModelError."""
    header = read_header(model.path)
    adapter, match = match_of(model, adapters, header)
    with safe_open(model.path, framework="pt", device="cpu") as file:
        return Loaded(adapter.load(Weights(file, header), match, base, device), match)


def match_of(model: ControlModel, adapters: Sequence[AdapterKind], header: Header) -> tuple[AdapterKind, Match]:
    """What the network of a file is, and what loads it. Raises ModelError."""
    for adapter in adapters:
        match = adapter.probe(header)
        if match is not None:
            return adapter, match if model.info is None else told(match, model.info)
    raise ModelError(
        f"No extension knows what {model.name} is.", "Enable the extension it is for, or choose another file."
    )


def told(match: Match, info: ControlInfo) -> Match:
    """The match with what the file's name and the files beside it tell."""
    return replace(match, pooled=match.pooled or info.pooled, hint="inpaint" if info.inpaint else match.hint)


class Weights(Mapping[str, Tensor]):
    """The tensors of an open file, read when they are asked for."""

    def __init__(self, file: safe_open, header: Header) -> None:
        self._file = file
        self._header = header

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._header.tensors:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._header.tensors)

    def __len__(self) -> int:
        return len(self._header.tensors)
