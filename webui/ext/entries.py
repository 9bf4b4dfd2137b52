"""What is remembered of each extension in an engine process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from webui.ext.app import App
from webui.ext.discover import Found
from webui.ext.faults import Fault
from webui.ext.manifest import Manifest
from webui.ext.order import id_of, needed

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Active:
    """An extension that was imported and set up. content: a digest of its code as it was read."""

    id: str
    manifest: Manifest
    module: ModuleType
    app: App
    content: str


@dataclass
class Entry:
    """What is remembered of one extension. broken: why it could not be activated, or must not run any more.
    fault: the leak guard's verdict, where that is why."""

    found: Found
    active: Active | None = None
    broken: str = ""
    fault: Fault | None = None
    load_seconds: float = 0.0
    services: dict[str, Any] = field(default_factory=dict)


def used(found: Found) -> set[str]:
    """The ids that an extension needs, or uses where they are there."""
    if found.manifest is None:
        return set()
    return {*needed(found.manifest), *map(id_of, found.manifest.dependencies.optional)}


def keyed(found: Sequence[Found]) -> dict[str, Found]:
    """By id; where another folder has the same one, by the place too. Those that are ready come first in `found`."""
    by_id: dict[str, Found] = {}
    for one in found:
        by_id[one.id if one.id not in by_id else f"{one.id} in {one.folder}"] = one
    return by_id
