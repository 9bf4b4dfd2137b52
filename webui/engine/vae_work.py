"""Encoding and decoding with a checkpoint's VAE: whole, or tile by tile where memory or the user wants it so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

from torch import Tensor

from webui.engine.memory.estimates import Work, vae_work
from webui.engine.memory.machine import Machine
from webui.engine.memory.model_parts import ModelParts
from webui.engine.memory.residency import Residency
from webui.nn.config import ModelConfig
from webui.nn.vae import VAE, Posterior
from webui.schema.errors import OutOfMemory

T = TypeVar("T")
Way = Literal["encoding", "decoding"]
ASKED = 64
"""Latent side of the tiles that a user asks for: always the same, so that the picture is."""
TILES = (128, 96, 64, 48, 32)
"""Those that are chosen from where memory is short: the larger, the fewer seams."""
SHARE = 0.8
"""Of the machine's free memory: a system that has none left kills the process instead of refusing."""


class VaeWork:
    """That of one checkpoint. tiled: the present job asks for tiles. note: tells the user."""

    def __init__(
        self, config: ModelConfig, parts: ModelParts, memory: Residency, machine: Machine, note: Callable[[str], None]
    ) -> None:
        self.tiled = False
        self._config = config
        self._parts = parts
        self._memory = memory
        self._machine = machine
        self._note = note

    def encode(self, vae: VAE, image: Tensor) -> Posterior:
        """(1 3 h w) -> posterior over z. Raises OutOfMemory."""

        def tiled(tile: int) -> Posterior:
            return vae.encode_tiled(image, tile, overlap(tile))

        return self._work("encoding", partial(vae.encode, image), tiled, image)

    def decode(self, vae: VAE, z: Tensor) -> Tensor:
        """(1 z h w) -> (1 3 8h 8w). Raises OutOfMemory."""

        def tiled(tile: int) -> Tensor:
            return vae.decode_tiled(z, tile, overlap(tile))

        return self._work("decoding", partial(vae.decode, z), tiled, z)

    def tile(self, way: Way, x: Tensor) -> int | None:
        """The latent side of tiles that suit a picture (1 3 h w) or a latent (1 z h w); None for no tiles."""
        rows, columns = self._latent_size(way, x)
        if self.tiled:
            return ASKED if max(rows, columns) > ASKED else None
        room, smaller = self._room, [tile for tile in TILES if tile < max(rows, columns)]
        if room is None or not smaller or self._bytes(way, rows * columns, x) <= room:
            return None
        return next((tile for tile in smaller if self._bytes(way, tile * tile, x) <= room), smaller[-1])

    def _work(self, way: Way, whole: Callable[[], T], tiled: Callable[[int], T], x: Tensor) -> T:
        vae, tile = [self._parts.vae], self.tile(way, x)
        rows, columns = self._latent_size(way, x)
        if tile is None:
            try:
                return self._memory.run(vae, whole, self._work_of(way, rows * columns, x))
            except OutOfMemory:
                tile = min(ASKED, max(rows, columns) - 1)
        if not self.tiled:
            self._note("Not enough memory for the whole picture: the VAE worked tile by tile.")
        for smaller in dict.fromkeys((tile, *(one for one in TILES if one < tile))):
            try:
                return self._memory.run(vae, partial(tiled, smaller))
            except OutOfMemory:
                continue
        raise OutOfMemory("Not enough memory for the VAE, even tile by tile.", self._memory.cure)

    def _latent_size(self, way: Way, x: Tensor) -> tuple[int, int]:
        scale = self._config.vae.downscale if way == "encoding" else 1
        return x.shape[-2] // scale, x.shape[-1] // scale

    def _work_of(self, way: Way, area: int, x: Tensor) -> Work:
        """area: in latent pixels."""
        return vae_work(self._config, area * self._config.vae.downscale**2, x.element_size(), way)

    def _bytes(self, way: Way, area: int, x: Tensor) -> int:
        return self._memory.corrections.of(self._work_of(way, area, x))

    @property
    def _room(self) -> int | None:
        """Bytes for this work where nothing but the VAE is on the device."""
        if not self._memory.moves:
            free = self._machine.free
            return None if free is None else int(free * SHARE)
        room = self._memory.room
        return None if room is None else room - self._parts.vae.size.whole


def overlap(tile: int) -> int:
    """Latent pixels that neighbours share: a quarter, 16 at most."""
    return min(16, tile // 4)
