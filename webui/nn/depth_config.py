"""The architecture of a depth estimator, as a frozen value beside those of `webui.nn.config`."""

from __future__ import annotations

from dataclasses import dataclass

PATCH = 16
"""Pixels of the picture for each token, along one side."""


@dataclass(frozen=True)
class DepthConfig:
    """MiDaS 3's hybrid DPT (Ranftl et al. 2021, arXiv:2103.13413, section 3): a ResNet (BiT) of three stages, a vision
    transformer on the last of them, and a neck that joins four maps of both to one.

    size: side of the square picture that it is shown, in pixels. stem, stages, depths: channels of the ResNet, and
    blocks of its stages. taps: the two of the transformer's layers, from 0, that the neck reads beside the first two
    stages; neck: to how many channels it brings them. fusion: channels of the joined maps.
    """

    size: int = 384
    stem: int = 64
    stages: tuple[int, ...] = (256, 512, 1024)
    depths: tuple[int, ...] = (3, 4, 9)
    norm_groups: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    taps: tuple[int, ...] = (8, 11)
    neck: tuple[int, ...] = (768, 768)
    fusion: int = 256

    def __post_init__(self) -> None:
        if len(self.stages) != 3 or len(self.depths) != 3 or len(self.taps) != 2 or len(self.neck) != 2:
            raise ValueError("a depth estimator has three stages, and a neck that reads two of its layers")
        if max(self.taps) >= self.layers or self.heads < 1 or self.width % self.heads or self.size % (2 * PATCH):
            raise ValueError(f"a depth estimator cannot have {self.layers} layers of {self.width} channels")
