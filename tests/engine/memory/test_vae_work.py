"""Whole or in tiles, and in which: decided before memory runs out where the sizes tell, else afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.memory.test_residency import Copier, Full
from tests.nn.weights import randomise
from tests.support import tiny_config
from webui.engine.memory.machine import Machine
from webui.engine.memory.parts import Part
from webui.engine.memory.residency import Residency
from webui.engine.vae_work import VaeWork, overlap
from webui.nn.vae import VAE
from webui.schema.errors import OutOfMemory

CONFIG = tiny_config()


class Parts:
    def __init__(self, vae: VAE) -> None:
        self.vae = Part("vae", [vae], "vae")


@pytest.fixture(scope="module")
def vae() -> VAE:
    return randomise(VAE(CONFIG.vae), seed=1).eval().requires_grad_(False)


def work_of(vae: VAE, room: int | None = None, tiled: bool = False) -> tuple[VaeWork, list[str]]:
    """room: bytes of the device beside the VAE."""
    notes: list[str] = []
    parts: Any = Parts(vae)
    memory = Residency(Copier(), lambda: None if room is None else room + parts.vae.size.whole)
    work = VaeWork(CONFIG, parts, memory, Machine(), notes.append)
    work.tiled = tiled
    return work, notes


def latent(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(1, 4, rows, columns, generator=torch.Generator().manual_seed(rows))


def bytes_of(area: int) -> int:
    """Six numbers of four bytes for each base channel of each pixel."""
    return 6 * CONFIG.vae.channels * area * 64 * 4


@pytest.mark.parametrize(
    ("rows", "columns", "room", "tile"),
    [
        (100, 150, bytes_of(100 * 150), None),
        (100, 150, bytes_of(100 * 150) - 1, 96),
        (100, 150, bytes_of(96 * 96) - 1, 64),
        (100, 150, bytes_of(48 * 48), 48),
        (100, 150, 0, 32),
        (30, 30, 0, None),
        (100, 150, None, None),
    ],
)
def test_the_largest_tile_that_fits_is_taken(
    vae: VAE, rows: int, columns: int, room: int | None, tile: int | None
) -> None:
    assert work_of(vae, room)[0].tile("decoding", latent(rows, columns)) == tile
    picture = torch.zeros(1, 3, rows * 8, columns * 8)
    assert work_of(vae, room)[0].tile("encoding", picture) == tile


def test_tiles_that_are_asked_for_are_always_the_same(vae: VAE) -> None:
    assert [work_of(vae, room, tiled=True)[0].tile("decoding", latent(65, 10)) for room in (0, None)] == [64, 64]
    assert work_of(vae, 0, tiled=True)[0].tile("decoding", latent(64, 64)) is None


def test_tiles_agree_with_the_vaes_own_and_are_told_unless_they_were_asked_for(vae: VAE) -> None:
    z = latent(20, 70)
    with torch.inference_mode():
        asked, silent = work_of(vae, tiled=True)
        assert torch.equal(asked.decode(vae, z), vae.decode_tiled(z, 64, 16))
        forced, notes = work_of(vae, 0)
        assert torch.equal(forced.decode(vae, z), vae.decode_tiled(z, 32, 8))
        plain, none = work_of(vae)
        assert torch.equal(plain.decode(vae, z), vae.decode(z))
    assert (silent, none) == ([], [])
    assert [("tile by tile" in note) for note in notes] == [True]


def test_when_the_whole_does_not_fit_after_all_ever_smaller_tiles_are_tried(
    vae: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, notes = work_of(vae)
    sides: list[int] = []
    decode = VAE.decode

    def full(vae: VAE, z: torch.Tensor) -> torch.Tensor:
        sides.append(max(z.shape[-2:]))
        if sides[-1] > 40:
            raise Full
        return decode(vae, z)

    monkeypatch.setattr(VAE, "decode", full)
    with torch.inference_mode():
        assert work.decode(vae, latent(10, 100)).shape == (1, 3, 80, 800)
    assert list(dict.fromkeys(sides)) == [100, 64, 48, 32]
    assert any("tile by tile" in note for note in notes)


def test_when_no_tile_fits_the_error_says_so(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(vae: VAE, z: torch.Tensor) -> torch.Tensor:
        raise Full

    monkeypatch.setattr(VAE, "decode", full)
    with pytest.raises(OutOfMemory, match="even tile by tile"), torch.inference_mode():
        work_of(vae)[0].decode(vae, latent(10, 100))


def test_neighbours_share_a_quarter_of_a_tile_and_16_at_most() -> None:
    assert [overlap(tile) for tile in (128, 64, 48, 32)] == [16, 16, 12, 8]
