"""Weights that lie in memory in 8 bits and are cast to the format of their input each time the layer is called.

Casting up is exact, so a picture depends on how the weights were rounded, and not on where they are cast. Layers that
see few numbers stay as they are, as does what is small: norms, biases, the timestep's and vector's embeddings, the
first and the last convolution.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

FLOAT8: tuple[torch.dtype, ...] = (torch.float8_e4m3fn, torch.float8_e5m2)
KEPT = ("time_embed.", "label_emb.", "input_blocks.0.0", "out.2")
"""Layers of a U-Net that are never stored in 8 bits, by the beginning of their names."""
MANTISSA = {torch.float8_e4m3fn: 3, torch.float8_e5m2: 2}
"""Bits behind the point; float32 has 23."""
NOISE = 65_537
"""Numbers of the noise that decides roundings; prime, so that it falls on other columns in each row."""


class StoredLinear(nn.Linear):
    """A linear layer whose weight is cast to the format of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """(... in) -> (... out)."""
        return F.linear(input, self.weight.to(input.dtype), self.bias)


class StoredConv2d(nn.Conv2d):
    """A convolution whose weight is cast to the format of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """(b in h w) -> (b out h' w')."""
        return self._conv_forward(input, self.weight.to(input.dtype), self.bias)


STORED = (StoredLinear, StoredConv2d)


def store_unet(unet: M, storage: torch.dtype | None) -> M:
    """The U-Net with the weights of its linear and convolution layers in 8 bits, apart from those of `KEPT`.

    storage: what other weights are rounded to, the nearest; None: only those that are in 8 bits already are kept so.
    Weights in 8 bits keep their memory.
    """
    for name, layer in list(unet.named_modules()):
        if type(layer) not in (nn.Linear, nn.Conv2d) or name.startswith(KEPT):
            continue
        weight: Tensor = layer.weight
        wanted = weight.dtype if weight.dtype in FLOAT8 else storage
        if wanted is not None:
            unet.set_submodule(name, stored(layer, wanted))
    return unet


def stored(layer: nn.Module, storage: torch.dtype) -> nn.Module:
    """A layer with the same weights, the weight itself in 8 bits. layer: nn.Linear or nn.Conv2d."""
    with torch.device("meta"):
        found = _empty_like(layer)
    state = dict(layer.state_dict())
    found.load_state_dict({**state, "weight": nearest(state["weight"], storage)}, assign=True)
    return found.requires_grad_(False).train(layer.training)


def _empty_like(layer: Any) -> nn.Module:
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return StoredLinear(layer.in_features, layer.out_features, has_bias)
    shape = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return StoredConv2d(*shape, layer.groups, has_bias)


def placed(module: M, device: torch.device | str, dtype: torch.dtype) -> M:
    """The module on a device and in the format it works in; what is stored in 8 bits stays so."""
    for layer in module.modules():
        own = layer.weight if isinstance(layer, STORED) else None
        for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
            cast = tensor is not own and tensor.is_floating_point()
            tensor.data = tensor.data.to(device, dtype if cast else None)
    return module


def nearest(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight in 8 bits, each number rounded to the nearest there is; itself where it is in that format."""
    if weight.dtype == dtype:
        return weight
    limit = torch.finfo(dtype).max
    return weight.clamp(-limit, limit).to(dtype)  # beyond the limit some devices give NaN


def dithered(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight (float32) in 8 bits, each number rounded up or down as often as it lies near to either.

    A network's change is mostly smaller than half the distance of two numbers in 8 bits: rounding to the nearest would
    lose it, while rounding by chance keeps its sum over many weights (Gupta et al. 2015, arXiv:1502.02551, section
    3). The chance is the same each time, so that the same networks give the same weights; what is a number in 8 bits
    stays what it is.
    """
    info, rest = torch.finfo(dtype), 23 - MANTISSA[dtype]
    noise = torch.randint(2**rest, (NOISE,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    noise = noise.to(weight.device)
    found = torch.empty(weight.shape, dtype=dtype, device=weight.device)
    for part, target in zip(weight.flatten().split(NOISE), found.view(-1).split(NOISE), strict=True):
        # below the smallest normal number steps stay the same: there, numbers are shifted to where steps are as large
        shift = torch.where(part.abs() < info.smallest_normal, info.smallest_normal, 0.0).copysign_(part)
        shifted = part + shift
        bits = shifted.view(torch.int32)
        bits.add_(noise[: len(part)]).bitwise_and_(-(2**rest))  # up in size where the rest and the noise carry over
        target.copy_(shifted.sub_(shift).clamp_(-info.max, info.max))
    return found if weight.is_contiguous() else torch.empty_like(weight, dtype=dtype).copy_(found)
