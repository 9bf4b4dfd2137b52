"""All model files of all places: one object for a process, so that each folder and header is read once. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.control_catalogue import ControlCatalogue
from webui.checkpoints.disk import NOW, SOON
from webui.checkpoints.forms import Entry, Memory
from webui.checkpoints.places import Places
from webui.checkpoints.tiny import TinyCatalogue
from webui.checkpoints.trees import Kind
from webui.networks.inventory import LISTED, Item, item_of
from webui.networks.tags import Catalogues
from webui.schema.errors import NotFound

_Listed = tuple[Sequence[Entry[Any]], int, tuple[Item, ...]]


class Library:
    """The catalogues of a process. Safe to use from several threads."""

    def __init__(self, places: Places, memory: Memory) -> None:
        self.places = places
        self.memory = memory
        self.checkpoints = Catalogue(places, memory)
        self.tiny = TinyCatalogue(places, memory)
        self.controls = ControlCatalogue(places, memory)
        self.named = Catalogues.of(places, memory)
        self._items: dict[Kind, _Listed] = {}

    @classmethod
    def of(cls, where: Places | Path | str, data_dir: Path | None = None) -> Library:
        """data_dir: where what was read of files is kept; without it nothing is."""
        return cls(Places.of(where), Memory.of(data_dir))

    def items(self, kinds: Sequence[Kind] = LISTED, age: float = SOON) -> list[Item]:
        """All files of these kinds, each kind by name. age: seconds that a look at the disk may be old."""
        return [item for kind in kinds for item in self._of_kind(kind, age)]

    def item(self, id: str) -> Item:
        """The file of this id. Raises NotFound."""
        for item in self.items():
            if item.id == id:
                return item
        raise NotFound("This file is not there any more.", "Refresh the list.")

    def refresh(self) -> None:
        """Look at all folders anew, whatever is remembered of them."""
        self.items(age=NOW)

    def close(self) -> None:
        """Let go of the cache's file."""
        self.memory.cache.close()

    def _of_kind(self, kind: Kind, age: float) -> tuple[Item, ...]:
        if kind not in LISTED:
            return ()
        entries, changes = self._entries(kind, age), self.memory.cache.changes
        known = self._items.get(kind)
        if known is None or known[0] is not entries or known[1] != changes:
            known = entries, changes, tuple(item_of(kind, entry, self.memory.cache) for entry in entries)
            self._items[kind] = known
        return known[2]

    def _entries(self, kind: Kind, age: float) -> Sequence[Entry[Any]]:
        match kind:
            case "checkpoint":
                return self.checkpoints.entries(age)
            case "vae":
                return self.checkpoints.vaes.entries(age)
            case "vae_approx":
                return self.tiny.entries(age)
            case "lora":
                return self.named.networks.entries(age)
            case "embedding":
                return self.named.embeddings.entries(age)
            case "hypernetwork":
                return self.named.hypernetworks.entries(age)
            case "controlnet":
                return self.controls.entries(age)
            case _:
                return ()
