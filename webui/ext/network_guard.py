"""Finds what was changed in a control network since it was read: the next job would draw with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from webui.ext.guard import content_print, differing, patch_print


@dataclass(frozen=True)
class NetworkPrint:
    """The modules and weights of one control network, as far as a patch would change them.

    The program moves it between devices, and its adapter may keep something in attributes and buffers: neither counts.
    """

    modules: Mapping[str, tuple[Any, ...]]
    weights: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, network: Sequence[nn.Module], sampled: bool = True) -> NetworkPrint:
        """sampled: whether the content of weights is looked at, which makes a GPU wait."""
        modules: dict[str, tuple[Any, ...]] = {}
        weights: dict[str, tuple[Any, ...]] = {}
        for index, part in enumerate(network):
            root = f"{type(part).__name__}{index or ''}"
            modules |= {name: patch_print(module) for name, module in part.named_modules(prefix=root)}
            weights |= {name: content_print(weight, sampled) for name, weight in part.named_parameters(prefix=root)}
        return cls(modules, weights)

    def changes(self, network: Sequence[nn.Module], sampled: bool = True) -> list[str]:
        """What differs now, each in words."""
        now = NetworkPrint.of(network, sampled)
        before = self.weights if sampled else {name: (*known[:-1], None) for name, known in self.weights.items()}
        changed = [
            f"the module {name} of a control network was patched" for name in differing(self.modules, now.modules)
        ]
        return changed + [
            f"the weight {name} of a control network was changed" for name in differing(before, now.weights)
        ]
