"""What others may add to a forward pass of the U-Net. Nothing is attached to a module: it all comes as arguments.

A layer is addressed by its name in the checkpoint: "input_blocks.4.1" is a block's layer,
"input_blocks.4.1.transformer_blocks.0.attn2" an attention, and "....attn2.to_q" one of its projections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Controls:
    """Residuals of control networks, already weighted and summed.

    skips: one per input block, in their order, (b c h w) or None; added to the copies the decoder reads
           (ControlNet, Zhang et al. 2023, arXiv:2302.05543).
    middle: (b c h w), added after the middle block.
    hidden: input block -> (b c h w), added to the hidden state itself after that block
            (T2I-Adapter, Mou et al. 2023, arXiv:2302.08453).
    watch: called with the skips and the middle block's output as they are before skips and middle are added.
    """

    skips: Sequence[Tensor | None] = ()
    middle: Tensor | None = None
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    watch: Callable[[Sequence[Tensor], Tensor], None] | None = None


@dataclass(frozen=True)
class KeysValues:
    """A second attention of the same queries, added to the first: `out + weight * attention(q, keys, values)`.

    keys, values: (b m c) with the c channels of the layer (IP-Adapter, Ye et al. 2023, arXiv:2308.06721, eq. 5).
    weight: a number, or a tensor that broadcasts to (b n c), as a region mask does.
    watch: called with what is added and with what it is added to, (b n c) each.
    """

    keys: Tensor
    values: Tensor
    weight: float | Tensor = 1.0
    watch: Callable[[Tensor, Tensor], None] | None = None


class Attend(Protocol):
    """An attention as the layer has it: x (b n c), context (b m d) -> (b n c)."""

    def __call__(self, x: Tensor, context: Tensor) -> Tensor: ...


class ReplacedAttention(Protocol):
    """Called in the place of an attention; `attend` is the attention it stands for.

    x: (b n c) and context: (b m d), which is x itself in self-attention -> (b n c).
    """

    def __call__(self, attend: Attend, x: Tensor, context: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Taps:
    """Places where a forward pass can be read or changed, by the name of the layer.

    blocks: layer of a block -> function of its output (b c h w), giving what stands in its place.
    inputs: projection ("....to_q") -> function of its input (b n c), whose answer is added to that input.
    keys_values: attention -> further keys and values.
    attentions: attention -> the function called in its place.
    """

    blocks: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    inputs: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    keys_values: Mapping[str, Sequence[KeysValues]] = field(default_factory=dict)
    attentions: Mapping[str, ReplacedAttention] = field(default_factory=dict)


def with_inputs(taps: Taps | None, more: Mapping[str, Callable[[Tensor], Tensor]]) -> Taps | None:
    """The taps, and further functions whose answers are added to the inputs of projections."""
    if not more:
        return taps
    taps = taps or Taps()
    return replace(
        taps, inputs={**taps.inputs, **{name: _plus(fn, taps.inputs.get(name)) for name, fn in more.items()}}
    )


def _plus(fn: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    return fn if other is None else lambda x: fn(x) + other(x)


@dataclass(frozen=True)
class TapNames:
    """The names a U-Net has for `Taps`, in the order of its modules: encoder, middle, decoder."""

    layers: tuple[str, ...]
    attentions: tuple[str, ...]
    inputs: tuple[str, ...]

    def check(self, taps: Taps) -> None:
        """ValueError for a name that would never be called."""
        wanted = (
            (taps.blocks, self.layers),
            (taps.inputs, self.inputs),
            (taps.keys_values, self.attentions),
            (taps.attentions, self.attentions),
        )
        for names, known in wanted:
            for name in names:
                if name not in known:
                    raise ValueError(f"this U-Net has no {name!r} to tap; it has {', '.join(known) or 'none'}")
