"""Control adapters of extensions, called as everything of theirs is: timed, and named when they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from webui.checkpoints.header import Header
from webui.control.adapters import Base, ControlAdapter, Hint, Match, Network, Residuals, UnetRows
from webui.ext.host import Host
from webui.ext.specs import AdapterSpec


@dataclass(frozen=True)
class OwnedKind:
    """`webui.control.adapters.AdapterKind` of an extension. kind: its class.

    Every call raises ExtensionError, or the adapter's own AtelierError with the extension's name put before.
    """

    host: Host
    owner: str
    spec: AdapterSpec
    kind: type[ControlAdapter]

    def probe(self, header: Header) -> Match | None:
        found: Match | None = self.call(self.kind.probe, header)
        return found

    def load(self, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> OwnedNetwork:
        return OwnedNetwork(self, self.call(self.kind.load, weights, match, base, device))

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call something of the adapter's."""
        return self.host.call(f"control adapter {self.spec.id}", self.owner, function, *given)


@dataclass(frozen=True)
class OwnedNetwork:
    """`webui.control.adapters.Network` of an extension."""

    kind: OwnedKind
    network: Network

    def prepare(self, hint: Hint) -> Any:
        return self.kind.call(self.network.prepare, hint)

    def residuals(self, call: UnetRows, prepared: Any) -> Residuals:
        def checked() -> Residuals:
            answer = self.network.residuals(call, prepared)
            if not isinstance(answer, Residuals):
                raise TypeError(f"residuals returned {type(answer).__name__} in the place of Residuals")
            return answer

        found: Residuals = self.kind.call(checked)
        return found

    def modules(self) -> Sequence[nn.Module]:
        found: Sequence[nn.Module] = self.kind.call(self.network.modules)
        return found
