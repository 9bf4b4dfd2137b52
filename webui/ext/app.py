"""What `setup` and `teardown` are given: the extension's own view of the program, for as long as it is active."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class App:
    """id, folder, device: the extension's. settings: "id.key" -> value, as declared by [[setting]].

    provide(name, thing): offer something to other extensions. service("id.name"): what another one offers, which
    must be declared in [dependencies].
    """

    id: str
    folder: Path
    device: Any
    settings: Mapping[str, Any]
    provide: Callable[[str, Any], None]
    service: Callable[[str], Any]
