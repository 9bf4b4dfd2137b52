"""Hypernetworks as A1111 trains them: small networks before the keys and values of every attention.

x' = x + strength * branch(x), for what the keys are made of, and with another branch for the values
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leakyrelu": F.leaky_relu,
    "elu": F.elu,
    "swish": F.hardswish,  # so it is called there
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "selu": F.selu,
    "celu": F.celu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "logsigmoid": F.logsigmoid,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink,
}
"""By the names that files have; "linear" or none is the identity."""


@dataclass(frozen=True)
class Stage:
    """A linear layer, its activation, and the norm behind it. weight: (out in), bias: (out,); norm: weight and bias."""

    weight: Tensor
    bias: Tensor | None = None
    activation: str = ""
    norm: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(... in) -> (... out)."""
        x = F.linear(x, self.weight, self.bias)
        x = ACTIVATIONS[self.activation](x) if self.activation else x
        return x if self.norm is None else F.layer_norm(x, self.norm[0].shape, *self.norm)


@dataclass(frozen=True)
class Branch:
    """Stages in a row, from a width to the same width; dropout does nothing outside training."""

    stages: tuple[Stage, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """(b n c) -> (b n c)."""
        for stage in self.stages:
            x = stage(x)
        return x

    def to(self, device: torch.device, dtype: torch.dtype) -> Branch:
        """The branch on another device or in another dtype."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype)

        return Branch(
            tuple(
                Stage(
                    moved(stage.weight),
                    None if stage.bias is None else moved(stage.bias),
                    stage.activation,
                    None if stage.norm is None else (moved(stage.norm[0]), moved(stage.norm[1])),
                )
                for stage in self.stages
            )
        )


def chained(branches: tuple[tuple[Branch, float], ...]) -> Callable[[Tensor], Tensor]:
    """What several branches at their strengths, one behind the other, add to an input together: (b n c) -> (b n c)."""

    def added(x: Tensor) -> Tensor:
        out = x
        for branch, strength in branches:
            out = out + strength * branch(out)
        return out - x

    return added
