"""What both trainings share: learning rate, checkpoints, the mean of the weights, and a log line now and then."""

import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

log = logging.getLogger("toybox")


def learning_rate(step: int, steps: int, peak: float, warmup: int = 200) -> float:
    """Rises for `warmup` steps, then falls along half a cosine to a twentieth of the peak."""
    rise = min(1.0, (step + 1) / warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return peak * rise * (0.05 + 0.95 * fall)


def ema_update(ema: dict[str, Tensor], module: nn.Module, step: int, decay: float) -> None:
    """Moves the running mean of the weights towards the module's; quickly at first."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for name, value in module.state_dict().items():
            ema[name].lerp_(value.detach().float(), weight)


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """A float32 copy of a module's weights."""
    return {name: value.detach().float().clone() for name, value in module.state_dict().items()}


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any] | None:
    """The checkpoint at path, or None where there is none yet."""
    return torch.load(path, weights_only=True) if path.exists() else None


def counted(first: int, steps: int) -> Iterator[int]:
    """first..steps, with a log line of the speed every 100 steps."""
    began = time.monotonic()
    for step in range(first, steps):
        yield step
        if (step + 1) % 100 == 0:
            log.info("step %d: %.3f s a step", step + 1, (time.monotonic() - began) / (step + 1 - first))


M = TypeVar("M", bound=nn.Module)


def channels_last(module: M) -> M:
    """The module, its weights laid out as convolutions on a CPU like them."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


class PlainAttention(TorchFunctionMode):
    """Inside it, attention is two matrix products and a softmax.

    torch's fused attention has a slow backward on CPUs: two fifths of a training step of Toybox.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **options)
        query, key, value = args[:3]
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (b heads n m)
        if options.get("is_causal"):
            scores = scores + torch.full(scores.shape[-2:], -1e4, dtype=scores.dtype).triu(1)
        return scores.softmax(-1) @ value
