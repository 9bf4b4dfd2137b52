"""The words between control networks and the program: what an adapter is, what it is given and what it gives.

An adapter turns a hint into residuals. Weight, window, control mode, region mask, hires option, summation, dtype and
memory are the core's business (`webui.control.units`), written once for all adapters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from webui.checkpoints.header import Header
from webui.nn.config import UNetConfig
from webui.schema.control import ControlUnit

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

HintKind = Literal["picture", "inpaint", "source"]
"""What an adapter reads: the map fitted to the pass; the same with masked pixels -1; or the picture at its own size."""


@dataclass(frozen=True)
class Map:
    """What a preprocessor gives. image: uint8 (h w 3), RGB; data: JSON (a pose) or an array that belongs to it."""

    image: np.ndarray
    data: Any = None


@dataclass(frozen=True)
class Match:
    """What a model file is, told from its header by `ControlAdapter.probe`.

    kind: for the user, as "ControlNet". family: of the checkpoints it fits; empty: of any. pooled: its residuals are
    averaged over the picture (shuffle). attends: it gives keys and values, for which the U-Net must be called alone.
    facts: whatever the adapter wants to remember for `load`.
    """

    kind: str
    family: str = ""
    hint: HintKind = "picture"
    pooled: bool = False
    attends: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Base:
    """The checkpoint that draws. weights: the U-Net's, by their names in the checkpoint; they are not to be changed.

    attentions: names of all attentions of the U-Net, encoder, middle, decoder.
    """

    family: str
    config: UNetConfig
    weights: Mapping[str, Tensor]
    dtype: torch.dtype
    attentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hint:
    """A map made ready for one pass, on the device and in the dtype of the network.

    image: (1 3 h w) in 0..1 at the size of the picture, sides rounded up to whole latent pixels; where the adapter's
    hint is "inpaint", masked pixels are -1. mask: (1 1 h w), 1 where to repaint, or None. source: uint8 (h w 3), the
    map (or picture) at its own size. data: what the preprocessor gave beside it. settings: the unit; read only.
    """

    image: Tensor
    source: np.ndarray
    settings: ControlUnit
    mask: Tensor | None = None
    data: Any = None


@dataclass(frozen=True)
class UnetRows:
    """The rows of one picture in one call of the U-Net; for a control network, of all pictures that it steers alike.

    x: (b c h w), scaled as the U-Net sees it; timesteps: (b,); context: (b n d); y: (b adm) or None; is_cond: for each
    row whether it is of the prompt (not the negative one); step: solver step from 0, of `steps`.
    """

    x: Tensor
    timesteps: Tensor
    context: Tensor
    y: Tensor | None
    is_cond: tuple[bool, ...]
    step: int
    steps: int

    def only(self, rows: Sequence[int]) -> UnetRows:
        """These rows alone."""
        chosen = list(rows)
        return replace(
            self,
            x=self.x[chosen],
            timesteps=self.timesteps[chosen],
            context=self.context[chosen],
            y=None if self.y is None else self.y[chosen],
            is_cond=tuple(self.is_cond[row] for row in chosen),
        )


@dataclass(frozen=True)
class Residuals:
    """What is added inside the U-Net; every tensor has a row for each row of the call, or one for all.

    skips: one (b c h w) or None per input block, for the copies that the decoder reads; middle: after the middle block
    (ControlNet). hidden: input block -> (b c h w), added to the hidden state itself (T2I-Adapter).
    keys_values: attention -> keys and values (b m c) of a second attention (IP-Adapter).
    """

    skips: Sequence[Tensor | None] = ()
    middle: Tensor | None = None
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    keys_values: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Network(Protocol):
    """One loaded control file, as units ask it: a `ControlAdapter`, or what stands for one."""

    def prepare(self, hint: Hint) -> Any:
        """See `ControlAdapter.prepare`."""

    def residuals(self, call: UnetRows, prepared: Any) -> Residuals:
        """See `ControlAdapter.residuals`."""

    def modules(self) -> Sequence[nn.Module]:
        """See `ControlAdapter.modules`."""


class AdapterKind(Protocol):
    """What reads one kind of control file: a subclass of `ControlAdapter`, or what stands for one."""

    def probe(self, header: Header) -> Match | None:
        """See `ControlAdapter.probe`."""

    def load(self, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Network:
        """See `ControlAdapter.load`."""


class ControlAdapter(ABC):
    """A kind of control network. One object is one loaded file; it keeps no state of a pass."""

    @classmethod
    @abstractmethod
    def probe(cls, header: Header) -> Match | None:
        """Whether a file is of this kind, by names and shapes of its tensors alone."""

    @classmethod
    @abstractmethod
    def load(cls, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Self:
        """The network of a file on `device`, in `base.dtype`. weights: read from the file when they are asked for."""

    def prepare(self, hint: Hint) -> Any:
        """What is worked out once for the pictures of a batch. Each `residuals` gets a copy of it down to its tensors,
        through dataclasses, dicts, lists and tuples; what is of other classes is shared: do not write into that."""
        return hint

    @abstractmethod
    def residuals(self, call: UnetRows, prepared: Any) -> Residuals:
        """The residuals at full strength for the rows of one call, each row for itself."""

    def modules(self) -> Sequence[nn.Module]:
        """What the program moves between devices."""
        return ()
