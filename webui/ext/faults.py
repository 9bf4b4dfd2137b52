"""What is held against extensions: the supervisor keeps it, so that the next engine process knows it too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """Why an extension runs no more until it is reloaded. content: `content_of` it as it was."""

    reason: str
    content: str


@dataclass(frozen=True)
class Held:
    """All faults by id. closely: whether something was left behind that could not be laid at one door, so that every
    call of extensions is looked after."""

    faults: Mapping[str, Fault] = field(default_factory=dict)
    closely: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"faults": {id: asdict(fault) for id, fault in self.faults.items()}, "closely": self.closely}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Held:
        return Held({id: Fault(**fault) for id, fault in data["faults"].items()}, bool(data["closely"]))


def content_of(code: str, settings: Mapping[str, Any]) -> str:
    """One digest of an extension's code (itself a digest) and its settings."""
    return hashlib.sha256(json.dumps([code, dict(settings)], sort_keys=True, default=str).encode()).hexdigest()
