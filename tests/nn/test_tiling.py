from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from webui.nn.tiling import Tiling, tiled


@given(st.integers(1, 64), st.integers(0, 63), st.integers(1, 500))
def test_tiles_cover_every_unit_and_overlap_enough(tile: int, overlap: int, units: int) -> None:
    overlap = min(overlap, tile - 1)
    starts = Tiling(tile, overlap).starts(units)
    assert starts[0] == 0
    assert starts[-1] + tile >= units
    assert all(start + min(tile, units) <= units for start in starts)
    assert all(0 < after - before <= tile - overlap for before, after in pairwise(starts))


@pytest.mark.parametrize(("tile", "overlap"), [(8, 8), (8, 9), (0, 0), (8, -1)])
def test_a_tile_must_be_larger_than_its_overlap(tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="smaller than the tile"):
        Tiling(tile, overlap)


def test_a_seam_is_a_linear_ramp() -> None:
    tiles = iter([0.0, 1.0])

    def flat(x: Tensor) -> Tensor:
        return torch.full_like(x, next(tiles))

    row = tiled(flat, torch.zeros(1, 1, 1, 12), Tiling(tile=8, overlap=4))[0, 0, 0]
    assert torch.allclose(row, torch.tensor([0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]))


def test_tiles_may_have_no_overlap() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8)
    assert torch.equal(tiled(lambda part: part * 2, x, Tiling(4, 0)), x * 2)


def test_no_call_sees_more_than_a_tile() -> None:
    sizes: set[tuple[int, ...]] = set()

    def watch(part: Tensor) -> Tensor:
        sizes.add(tuple(part.shape))
        return part.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    x = torch.randn(1, 2, 30, 50)
    out = tiled(watch, x, Tiling(tile=16, overlap=4, unit_out=2))
    assert sizes == {(1, 2, 16, 16)}
    assert torch.allclose(out, x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2))


def test_half_precision_tiles_are_joined_in_single_precision() -> None:
    x = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)).half()
    out = tiled(lambda part: part, x, Tiling(8, 3))
    assert out.dtype == torch.float16
    assert torch.equal(out, x)
