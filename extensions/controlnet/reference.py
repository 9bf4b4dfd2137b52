"""Reference only: self-attentions that also read those of a reference picture, noised to the same level.

Each call of the U-Net is preceded by one that writes down what the reference's self-attentions see (their normed
inputs). Then every self-attention reads its own input and the reference's side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from webui.ext import Taps, attention_size

if TYPE_CHECKING:
    from webui.ext import LoneUnit, PassContext

ID = "reference_only"
FIDELITY = 0.5
PROMPT, CONTROL = "My prompt is more important", "ControlNet is more important"
Attend = Callable[[Tensor, Tensor], Tensor]


def picture(image: np.ndarray, *, fidelity: float) -> np.ndarray:
    """The picture as it is; `fidelity` is for the drawing."""
    return image


def begin(p: PassContext, units: Sequence[LoneUnit]) -> None:
    """Take over the self-attentions of a pass."""
    layers = [name for name in p.attentions if name.endswith("attn1")]
    sources = [Source(p, unit, layers) for unit in units]
    for name in layers:
        p.replace_attn(name, partial(read, sources, name))


def read(sources: Sequence[Source], name: str, attend: Attend, x: Tensor, context: Tensor) -> Tensor:
    """The attention over its own input and all references that act now: (b n c), (b n c) -> (b n c).

    References of the whole picture are read together; each one with a region changes what is read there.
    """
    acting = [(source, bank) for source in sources if (bank := source.bank(name)) is not None]
    whole = [pair for pair in acting if pair[0].region is None]
    plain = out = blended(whole, attend, x, context)
    for source, bank in acting:
        if source.region is not None:
            change = source.tokens(name, x) * (blended([*whole, (source, bank)], attend, x, context) - plain)
            out = out + change
            source.tell(name, change, plain)
        elif source.measures(name):
            without = blended([pair for pair in whole if pair[0] is not source], attend, x, context)
            source.tell(name, plain - without, without)
    return out


def blended(acting: Sequence[tuple[Source, Tensor]], attend: Attend, x: Tensor, context: Tensor) -> Tensor:
    """The attention with these references and what is seen of them: (b n c), (b n c) -> (b n c).

    With style fidelity f: f * (rows of the negative prompt see themselves alone) + (1 - f) * (all see the references).
    """
    if not acting:
        return attend(x, context)
    with_reference = attend(x, torch.cat([context, *(bank for _, bank in acting)], dim=1))
    fidelity = max(source.fidelity for source, _ in acting)
    if fidelity == 0:
        return with_reference
    is_cond = torch.tensor(acting[0][0].is_cond, device=x.device)[:, None, None]
    faithful = torch.where(is_cond, with_reference, attend(x, context))
    return fidelity * faithful + (1 - fidelity) * with_reference


class Source:
    """One reference picture in one pass."""

    def __init__(self, p: PassContext, unit: LoneUnit, layers: Sequence[str]) -> None:
        self._p = p
        self._unit = unit
        self._layers = tuple(layers)
        self._latent = p.encode_image(unit.hint.image[0].float() * 2 - 1)
        self._noise = p.noise
        self._written: dict[str, Tensor] = {}
        self._acting: set[str] = set()
        self.fidelity = fidelity_of(unit, p.config.family)
        self.region = unit.region

    @property
    def is_cond(self) -> tuple[bool, ...]:
        return self._p.call.is_cond

    def bank(self, name: str) -> Tensor | None:
        """What the reference's attention of this name sees in this call (b m c); None where it does not act."""
        call = self._p.call
        if not self._unit.active(call.step, call.steps):
            return None
        if name == self._layers[0]:  # the first attention of a call
            self._written = {}
            self._write()
            weight = self._unit.settings.weight
            self._acting = {other for other, rank in ranks(self._written).items() if rank < weight}
        return self._written[name] if name in self._acting else None

    def tokens(self, name: str, x: Tensor) -> Tensor:
        """The region at the size of an attention, (1 n 1)."""
        assert self.region is not None
        size = attention_size(self._p.config.unet, name, self._p.shape[1:])
        region = F.interpolate(self.region.float(), size=size, mode="bilinear")
        return region.to(x).flatten(2).transpose(1, 2)

    def measures(self, name: str) -> bool:
        """Whether the effect is measured in an attention: in the coarsest that act, as it costs one more of them."""
        coarsest = min(self._written[other].shape[1] for other in self._acting)
        return self._written[name].shape[1] == coarsest

    def tell(self, name: str, change: Tensor, plain: Tensor) -> None:
        """The reference changed the output of an attention (b n c) by so much in this call."""
        if self.measures(name):
            self._unit.tell(self._p.call.step, change, plain)

    def _write(self) -> None:
        call = self._p.call
        rows = call.rows
        sigma = call.sigma
        # noise of its own at every step, from the picture's seed
        noise = self._noise.flatten().roll(call.step + 1).view_as(self._noise)
        noised = (self._latent + sigma * noise.to(self._latent)) / (1 + sigma**2) ** 0.5
        x = noised.to(rows.x)[None].expand(len(rows.x), -1, -1, -1)
        if rows.x.shape[1] > x.shape[1]:
            x = torch.cat([x, rows.x[:, x.shape[1] :]], dim=1)
        taps = Taps(attentions={name: partial(self._note, name) for name in self._layers})
        self._p.run_unet(x, rows.timesteps, rows.context, rows.y, taps)

    def _note(self, name: str, attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        self._written[name] = x
        return attend(x, context)


def ranks(written: dict[str, Tensor]) -> dict[str, float]:
    """0..1 for each attention, the widest first: those below the unit's weight act."""
    ordered = sorted(written, key=lambda name: -written[name].shape[-1])
    return {name: index / len(ordered) for index, name in enumerate(ordered)}


def fidelity_of(unit: LoneUnit, family: str) -> float:
    """Style fidelity by mode; SDXL takes its cube, and the hires pass keeps only a full one."""
    if unit.settings.mode == CONTROL:
        return 1.0
    if unit.settings.mode == PROMPT:
        return 0.0
    fidelity = float(unit.settings.params.get("fidelity", FIDELITY))
    if unit.hires and fidelity < 1:
        return 0.0
    return fidelity**3 if family == "sdxl" else fidelity
