"""What became of the extensions, for the page, REST and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

RunState = Literal["ready", "disabled", "blocked", "invalid", "active", "failed"]


@dataclass(frozen=True)
class Timing:
    """How often something of an extension ran, and how long all of that took, in seconds."""

    calls: int = 0
    seconds: float = 0.0

    def plus(self, seconds: float) -> Timing:
        return Timing(self.calls + 1, self.seconds + seconds)

    def since(self, earlier: Timing) -> Timing:
        return Timing(self.calls - earlier.calls, self.seconds - earlier.seconds)


@dataclass(frozen=True)
class ExtensionReport:
    """One extension in the engine.

    reason: why it does not run, or what went wrong last. hooks: by the name of the hook, or of what else was called
    ("preprocessor canny"). switched_off: observers that failed too often.
    """

    id: str
    state: RunState
    reason: str = ""
    load_seconds: float = 0.0
    hooks: Mapping[str, Timing] = field(default_factory=dict)
    switched_off: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "switched_off": list(self.switched_off)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ExtensionReport:
        hooks = {name: Timing(**timing) for name, timing in data["hooks"].items()}
        return ExtensionReport(**{**data, "hooks": hooks, "switched_off": tuple(data["switched_off"])})
