"""Noise of one image, from its seed alone: bit-identical alone, in a batch and on every device.

Everything is drawn by CPU generators of the seed; nothing touches torch's global generator.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from webui.diffusion.types import Noise

OCTAVES = range(-10, 14)
"""Brownian time (sigma) runs from 0 to 2^14; the lowest octave reaches down to 0."""

DEPTH = 16
"""Halvings of an octave: the path is exact to 2^-16 of sigma, and linear in between."""

REMEMBERED = 40
"""Nodes of a Brownian path that are kept: neighbouring times share most of theirs."""


def generator_of(seed: int) -> torch.Generator:
    """A CPU generator; torch reads the low 32 bits of its seed."""
    return torch.Generator("cpu").manual_seed(seed % 2**64)


def slerp(weight: float, low: Tensor, high: Tensor) -> Tensor:
    """Spherical interpolation along the rows of (c h w), low at 0, high at 1; what "Variation strength" means."""
    dot = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1, keepdim=True)
    omega = dot.clamp(-1, 1).acos()
    along_arc = (((1 - weight) * omega).sin() * low + (weight * omega).sin() * high) / omega.sin()
    # sin(omega) is nearly 0 where both point the same way (or opposite ways, where there is no shortest arc)
    return torch.where(omega.sin() < 1e-3, low * (1 - weight) + high * weight, along_arc)


@dataclass(frozen=True)
class NoiseSource:
    """All randomness of one image.

    subseed, subseed_strength: the initial noise moves towards that of another seed, 0 = not at all, 1 = wholly.
    resize_from: (h, w) of the latent whose noise is kept in the middle of a larger or smaller one.
    eta_seed_delta: added to the seed of the draws after the first ("ENSD"), 0 = the draws go on after the first.
    """

    seed: int
    subseed: int = 0
    subseed_strength: float = 0.0
    resize_from: tuple[int, int] | None = None
    eta_seed_delta: int = 0

    def initial(self, shape: Sequence[int]) -> Tensor:
        """Unit normal (c h w), float32 on the CPU: `torch.randn(shape)` of the seed where no option is in use."""
        c, h, w = shape
        first_shape = (c, *(self.resize_from or (h, w)))
        first = torch.randn(first_shape, generator=generator_of(self.seed))
        if self.subseed_strength:
            first = slerp(self.subseed_strength, first, torch.randn(first_shape, generator=generator_of(self.subseed)))
        if first_shape == (c, h, w):
            return first
        return _paste_middle(first, torch.randn((c, h, w), generator=generator_of(self.seed)))

    def posterior(self, shape: Sequence[int]) -> Tensor:
        """Unit normal (c h w) for sampling a VAE's posterior, independent of all other noise of the image."""
        return self._independent("posterior", shape)

    def small(self, shape: Sequence[int]) -> Tensor:
        """Unit normal (c h w) for the small picture that an upscaler reads, independent of all other noise."""
        return self._independent("small", shape)

    def _independent(self, name: str, shape: Sequence[int]) -> Tensor:
        key = hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=4).digest()
        return torch.randn(tuple(shape), generator=generator_of(int.from_bytes(key, "big")))

    def draws(self, like: Tensor) -> Noise:
        """Noise for ancestral samplers: independent draws, in order, the k-th a function of (seed, k) alone.

        like: (c h w), whose shape, dtype and device the draws have. A new run of a sampler takes a new `draws`.
        """
        generator = generator_of(self.seed + self.eta_seed_delta)
        if not self.eta_seed_delta:
            torch.randn(like.shape, generator=generator)  # the initial noise is the generator's first draw

        def noise(sigma_from: float, sigma_to: float) -> Tensor:
            return torch.randn(like.shape, generator=generator).to(like)

        return noise

    def brownian(self, like: Tensor) -> Noise:
        """Noise for SDE samplers: increments of one Brownian path of the seed, scaled to unit variance."""
        path = BrownianPath(self.seed, tuple(like.shape))

        def noise(sigma_from: float, sigma_to: float) -> Tensor:
            increment = path.increment(sigma_from, sigma_to)
            return (increment / abs(sigma_to - sigma_from) ** 0.5).to(like)

        return noise


def _paste_middle(noise: Tensor, onto: Tensor) -> Tensor:
    """(c h w) centred on (c h' w'), cut or surrounded."""
    (_, h, w), (_, to_h, to_w) = noise.shape, onto.shape
    dy, dx = (to_h - h) // 2, (to_w - w) // 2
    kept = noise[:, max(-dy, 0) : max(-dy, 0) + min(h, to_h), max(-dx, 0) : max(-dx, 0) + min(w, to_w)]
    _, h, w = kept.shape
    onto[:, max(dy, 0) : max(dy, 0) + h, max(dx, 0) : max(dx, 0) + w] = kept
    return onto


class BrownianPath:
    """One Brownian motion W(t), t = sigma >= 0, W: (c h w) float64, a pure function of seed and t.

    A virtual Brownian tree (Li et al. 2020, arXiv:2001.01328, section 4): each octave [2^k, 2^(k+1)] has an own
    independent increment, and inside it the path is bridged by halving, every node drawn from its own seed. Octaves
    make the resolution relative to sigma. Raises ValueError for t outside 0..2^14.
    """

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self._normal = lru_cache(maxsize=REMEMBERED)(partial(_node_normal, seed, shape))
        self._zero = torch.zeros(shape, dtype=torch.float64)
        self._ends: dict[float, Tensor] = {}  # of the last interval: the next one begins where it ended

    def increment(self, start: float, end: float) -> Tensor:
        """W(end) - W(start)."""
        self._ends = {t: self._ends[t] if t in self._ends else self._at(t) for t in (start, end)}
        return self._ends[end] - self._ends[start]

    def _at(self, t: float) -> Tensor:
        limit = 2.0 ** (OCTAVES[-1] + 1)
        if not 0 <= t <= limit:
            raise ValueError(f"sigma {t} lies outside the Brownian path's 0..{limit:g}")
        octave = min(max(math.floor(math.log2(t)), OCTAVES[0]), OCTAVES[-1]) if t > 0 else OCTAVES[0]
        low = _octave_low(octave)
        left = self._zero
        for below in range(OCTAVES[0], octave):
            left = left + self._octave_increment(below)
        return self._bridge(octave, (low, 2.0 ** (octave + 1)), (left, left + self._octave_increment(octave)), t)

    def _octave_increment(self, octave: int) -> Tensor:
        length = 2.0 ** (octave + 1) - _octave_low(octave)
        return length**0.5 * self._normal(octave, 0).double()

    def _bridge(self, octave: int, times: tuple[float, float], values: tuple[Tensor, Tensor], t: float) -> Tensor:
        """W(t) between two known times, by halving towards t; linear below the resolution."""
        (low, high), (left, right) = times, values
        node = 1  # heap order: the children of node n are 2n and 2n + 1
        for _ in range(DEPTH):
            if t in (low, high):
                break
            middle = (low + high) / 2
            value = (left + right) / 2 + (high - low) ** 0.5 / 2 * self._normal(octave, node)
            if t < middle:
                high, right, node = middle, value, 2 * node
            else:
                low, left, node = middle, value, 2 * node + 1
        return left + (right - left) * ((t - low) / (high - low))


def _octave_low(octave: int) -> float:
    return 0.0 if octave == OCTAVES[0] else 2.0**octave


def _node_normal(seed: int, shape: tuple[int, ...], octave: int, node: int) -> Tensor:
    key = hashlib.blake2b(f"{seed} {octave} {node}".encode(), digest_size=8).digest()
    return torch.randn(shape, generator=generator_of(int.from_bytes(key, "big")))
