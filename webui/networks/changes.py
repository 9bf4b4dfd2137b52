"""A layer's change as tensors, and what it makes of a weight: W' = W + strength * (difference at full strength)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from webui.networks.peft import PeftSettings
from webui.nn.deltas import glora_delta, loha_delta, lokr_delta, lora_delta, times_channels, tucker, with_lengths
from webui.nn.rotations import (
    cayley,
    cayley_series,
    packed_skew,
    shortened,
    skew,
    turn_inputs,
    turn_inputs_butterfly,
    turn_outputs,
    turn_outputs_butterfly,
)

Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class Change:
    """The change of one layer. kind: as of `webui.networks.kinds`; parts: its tensors, of any dtype and device."""

    kind: str
    parts: Parts = field(repr=False)
    peft: PeftSettings = field(default_factory=PeftSettings)

    def differences(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """What is added at full strength: weight (out ...), bias (out,) -> as them, or None where nothing is. They are
        new tensors, which the caller may write to.

        Raises:
            RuntimeError, ValueError: the shapes do not fit each other.
        """
        # single numbers are read as Python's: on a GPU each of them would wait for the device
        parts = {part: tensor if tensor.ndim == 0 else tensor.to(weight) for part, tensor in self.parts.items()}
        own = Change(self.kind, parts, self.peft)
        return _weight(own, weight), None if bias is None else _bias(own, bias)


def _weight(change: Change, weight: Tensor) -> Tensor | None:
    turned = _REPLACED.get(change.kind)
    if turned is not None:
        return turned(change, weight) - weight
    if change.kind in ("full", "norm"):
        added = change.parts.get("diff" if change.kind == "full" else "w_norm")
        return None if added is None else fitted(added, weight).clone()
    # in place, as most of the time goes into the memory of new ones
    added = fitted(_ADDED[change.kind](change.parts, weight), weight).mul_(_scale(change))
    lengths = _lengths(change.parts, weight)
    return added if lengths is None else with_lengths(weight + added, *lengths) - weight


def _bias(change: Change, bias: Tensor) -> Tensor | None:
    parts = change.parts
    added = parts.get("diff_b", parts.get("b_norm"))
    if added is not None:
        return added.reshape(bias.shape).clone()
    if "up_bias" in parts:
        return parts["up_bias"].reshape(bias.shape) * _scale(change)
    if "ia3_l" in parts and parts["ia3_l"].numel() == len(bias) and not change.peft.feeds_forward:
        return bias * (parts["ia3_l"].flatten() - 1)
    return None


def fitted(added: Tensor, weight: Tensor) -> Tensor:
    """The difference in the weight's shape. An inpainting model reads more channels than what a network for the
    ordinary model was trained on: it has zeros for these.

    Raises:
        RuntimeError: they have another number of elements.
    """
    if added.ndim == weight.ndim == 4 and added.shape[1] == 4 < weight.shape[1]:
        return torch.nn.functional.pad(added, (0, 0, 0, 0, 0, weight.shape[1] - 4))
    return added.reshape(weight.shape)


def _scale(change: Change) -> float:
    """alpha / rank, times the scalar that some trainers learn."""
    parts = change.parts
    scalar = float(parts["scalar"]) if "scalar" in parts else 1.0
    if "alpha" not in parts:
        return scalar * (change.peft.scale or 1.0)
    rank = _RANK[change.kind](parts)
    return scalar * float(parts["alpha"]) / rank if rank else scalar


def _lokr_rank(parts: Parts) -> int:
    """0 for two whole matrices: they have no rank, and alpha has no meaning."""
    factor = parts.get("lokr_w2_b", parts.get("lokr_w1_b"))
    return 0 if factor is None else len(factor)


_RANK: Mapping[str, Callable[[Parts], int]] = {
    "lora": lambda parts: len(parts["down"]),
    "loha": lambda parts: len(parts["hada_w1_b"]),
    "lokr": _lokr_rank,
    "glora": lambda parts: min(parts["a1"].shape[:2]),
}


def _lengths(parts: Parts, weight: Tensor) -> tuple[Tensor, int] | None:
    """DoRA's lengths and their axis: of outputs in peft, of outputs (out 1 ...) or inputs (1 in ...) in LyCORIS."""
    if "magnitude" in parts:
        return parts["magnitude"].flatten(), 0
    if "dora_scale" not in parts:
        return None
    lengths = parts["dora_scale"]
    return lengths.flatten(), 0 if len(lengths) == len(weight) and len(lengths) > 1 else 1


def _lora(parts: Parts, weight: Tensor) -> Tensor:
    return lora_delta(parts["up"], parts["down"], parts.get("mid"))


def _loha(parts: Parts, weight: Tensor) -> Tensor:
    w1_a, w1_b, w2_a, w2_b = (parts[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    return loha_delta(w1_a, w1_b, w2_a, w2_b, parts.get("hada_t1"), parts.get("hada_t2"))


def _lokr(parts: Parts, weight: Tensor) -> Tensor:
    first = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        return lokr_delta(first, parts["lokr_w2"])
    outs, ins = parts["lokr_w2_a"], parts["lokr_w2_b"]
    return lokr_delta(first, tucker(parts["lokr_t2"], outs, ins) if "lokr_t2" in parts else outs @ ins)


def _glora(parts: Parts, weight: Tensor) -> Tensor:
    """LyCORIS's first files had the two factors of each product the other way round."""
    a1, a2, b1, b2 = (parts[name] for name in ("a1", "a2", "b1", "b2"))
    if len(b1) != len(weight) or b1.shape[1] != len(b2):
        a1, a2, b1, b2 = a2, a1, b2, b1
    return glora_delta(weight, a1, a2, b1, b2, parts.get("bm"))


_ADDED: Mapping[str, Callable[[Parts, Tensor], Tensor]] = {"lora": _lora, "loha": _loha, "lokr": _lokr, "glora": _glora}


def _oft(change: Change, weight: Tensor) -> Tensor:
    parts = change.parts
    if "oft_R" in parts:
        q, peft = packed_skew(parts["oft_R"]), change.peft
        q = q if peft.limit is None else shortened(q, peft.limit)
        return turn_inputs(weight, cayley_series(q, peft.series) if peft.series else cayley(-q))
    limit = float(parts["alpha"]) * len(weight) if "alpha" in parts else None
    rotations = cayley(skew(parts["oft_blocks"], limit))
    turned = (turn_outputs if rotations.ndim == 3 else turn_outputs_butterfly)(weight, rotations)
    return times_channels(turned, parts["rescale"], 0) if "rescale" in parts else turned


def _boft(change: Change, weight: Tensor) -> Tensor:
    rotations = cayley(-skew(change.parts["boft_R"]) / 2)
    return times_channels(turn_inputs_butterfly(weight, rotations), change.parts["boft_s"], 0)


def _ia3(change: Change, weight: Tensor) -> Tensor:
    """LyCORIS's vectors lie around 0 and say their axis; peft's lie around 1, and their length or settings say it."""
    parts = change.parts
    if "weight" in parts:
        return times_channels(weight, 1 + parts["weight"], 1 if float(parts["on_input"]) else 0)
    factors = parts["ia3_l"]
    on_input = change.peft.feeds_forward or factors.numel() != len(weight)
    return times_channels(weight, factors, 1 if on_input else 0)


_REPLACED: Mapping[str, Callable[[Change, Tensor], Tensor]] = {"oft": _oft, "boft": _boft, "ia3": _ia3}
