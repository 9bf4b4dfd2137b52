"""A function of large pictures worked out tile by tile, its seams feathered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut, in units of which one is `unit_in` pixels of the input and `unit_out` of the output.

    Each tile is `tile` units a side and shares at least `overlap` of them with its neighbour.
    Raises ValueError for a tile that is no larger than its overlap.
    """

    tile: int
    overlap: int
    unit_in: int = 1
    unit_out: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tile:
            raise ValueError(f"overlap {self.overlap} must be at least 0 and smaller than the tile, {self.tile}")

    def starts(self, units: int) -> list[int]:
        """Where the tiles begin along a side of `units` units: the first at 0, the last ending at the end."""
        if units <= self.tile:
            return [0]
        count = math.ceil((units - self.overlap) / (self.tile - self.overlap))
        return [round(i * (units - self.tile) / (count - 1)) for i in range(count)]


def tiled(function: Callable[[Tensor], Tensor], x: Tensor, tiling: Tiling) -> Tensor:
    """function(x) tile by tile; where tiles overlap one fades linearly into the next.

    x: (b c h w), sides multiples of `unit_in`; function scales both sides by unit_out / unit_in.
    """
    rows, columns = x.shape[-2] // tiling.unit_in, x.shape[-1] // tiling.unit_in
    if max(rows, columns) <= tiling.tile:
        return function(x)
    places = list(product(tiling.starts(rows), tiling.starts(columns)))
    parts = [function(_cut(x, top, left, tiling.tile, tiling.unit_in)) for top, left in places]
    exact = torch.promote_types(parts[0].dtype, torch.float32)
    weights = parts[0].new_zeros(rows * tiling.unit_out, columns * tiling.unit_out, dtype=exact)  # (h w)
    total = parts[0].new_zeros(*parts[0].shape[:2], *weights.shape, dtype=exact)
    for (top, left), part in zip(places, parts, strict=True):
        weight = _feather(part.to(exact), tiling.overlap * tiling.unit_out)
        _cut(total, top, left, tiling.tile, tiling.unit_out).add_(part * weight)
        _cut(weights, top, left, tiling.tile, tiling.unit_out).add_(weight)
    return total.div_(weights).to(parts[0].dtype)


def _cut(x: Tensor, top: int, left: int, tile: int, unit: int) -> Tensor:
    """A view of one tile: (... h w) -> (... tile tile)."""
    return x[..., top * unit : (top + tile) * unit, left * unit : (left + tile) * unit]


def _feather(tile: Tensor, overlap: int) -> Tensor:
    """Weights (h w) that rise from the border of a tile to 1 over `overlap` pixels."""
    ramps = []
    for side in tile.shape[-2:]:
        i = torch.arange(side, dtype=tile.dtype, device=tile.device)
        ramps.append(torch.minimum(i + 1, side - i).div(overlap + 1).clamp(max=1))
    return ramps[0][:, None] * ramps[1]
