"""T2I-Adapter (Mou et al. 2023, arXiv:2302.08453): four features of the hint, added to the encoder's own states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webui.ext import Base, ControlAdapter, Header, Hint, Match, Residuals, UnetRows, filled

from .nets import matched

INJECTED = {"sd1": (2, 5, 8, 11), "sdxl": (3, 5, 8)}
"""Input blocks behind which a feature is added; SDXL's fourth goes behind the middle."""


@dataclass(frozen=True)
class AdapterConfig:
    """channels: of the four features. halved: whether each level halves the size first. light: the small design."""

    in_channels: int
    channels: tuple[int, ...]
    halved: tuple[bool, ...]
    unshuffle: int
    kernel: int = 1
    blocks: int = 2
    light: bool = False


class Residual(nn.Module):
    """Two convolutions with a ReLU between them, the input added: (b c h w) -> (b c h w)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.block1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.block2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block2(F.relu(self.block1(x)))


class Level(nn.Module):
    """One feature: half the size where wanted, another width, residual blocks; the light design narrows inside."""

    def __init__(self, channels: int, out_channels: int, halved: bool, config: AdapterConfig) -> None:
        super().__init__()
        self.halved = halved
        inner = out_channels // 4 if config.light else out_channels
        wants_in = config.light or channels != out_channels
        self.in_conv = nn.Conv2d(channels, inner, 1) if wants_in else nn.Identity()
        kernel = 3 if config.light else config.kernel
        self.resnets = nn.Sequential(*(Residual(inner, kernel) for _ in range(config.blocks)))
        self.out_conv = nn.Conv2d(inner, out_channels, 1) if config.light else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(b c h w) -> (b c' h w), or half the size, rounding up."""
        if self.halved:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return self.out_conv(self.resnets(self.in_conv(x)))


class AdapterNet(nn.Module):
    """Hint -> four features, by diffusers' names without the leading "adapter."."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        first = config.in_channels if config.light else config.channels[0]
        self.conv_in = (
            nn.Identity() if config.light else nn.Conv2d(config.in_channels, config.channels[0], 3, padding=1)
        )
        inputs = (first, *config.channels[:-1])
        self.body = nn.ModuleList(
            Level(*level, config) for level in zip(inputs, config.channels, config.halved, strict=True)
        )

    def forward(self, hint: Tensor) -> list[Tensor]:
        """(b 3 or 1, h w) in 0..1, sides multiples of the finest feature's scale -> four (b c h' w')."""
        x = self.conv_in(F.pixel_unshuffle(hint, self.config.unshuffle))
        features = []
        for level in self.body:
            x = level(x)
            features.append(x)
        return features


class T2IAdapter(ControlAdapter):
    """The adapter of the program: features once per pass, the same for every call."""

    def __init__(self, model: AdapterNet, blocks: Sequence[int]) -> None:
        self.model = model
        self.blocks = tuple(blocks)

    @classmethod
    def probe(cls, header: Header) -> Match | None:
        return matched(header, "T2I-Adapter")

    @classmethod
    def load(cls, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Self:
        tensors = {ours: weights[theirs] for ours, theirs in plain_names(weights).items()}
        config = config_of(tensors, match.family)
        return cls(filled(lambda: AdapterNet(config), tensors, base.dtype, device), INJECTED[match.family])

    def prepare(self, hint: Hint) -> list[Tensor]:
        config, image = self.model.config, hint.image
        if config.in_channels == config.unshuffle**2:
            image = image.mean(dim=1, keepdim=True)
        h, w = image.shape[-2:]
        missing = -w % config.unshuffle, -h % config.unshuffle
        return self.model(F.pad(image, (0, missing[0], 0, missing[1]), mode="replicate"))

    def residuals(self, call: UnetRows, prepared: list[Tensor]) -> Residuals:
        hidden = dict(zip(self.blocks, prepared, strict=False))
        middle = prepared[len(self.blocks)] if len(prepared) > len(self.blocks) else None
        return Residuals(middle=middle, hidden=hidden)

    def modules(self) -> tuple[nn.Module, ...]:
        return (self.model,)


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Our (diffusers') name -> name in the file. In the first files level 2's blocks are "body.4" and "body.5"."""
    names = list(names)
    if any(name.startswith("adapter.") for name in names):
        return {name.removeprefix("adapter."): name for name in names}
    if any(name.endswith("out_conv.weight") for name in names):
        return {re.sub(r"^(body\.\d+)\.body\.", r"\1.resnets.", name): name for name in names}
    return {_counted_in_pairs(name): name for name in names}


def _counted_in_pairs(name: str) -> str:
    found = re.fullmatch(r"body\.(\d+)\.(block1|block2|in_conv)\.(weight|bias)", name)
    if found is None:
        return name
    index, part, kind = int(found[1]), found[2], found[3]
    inside = "in_conv" if part == "in_conv" else f"resnets.{index % 2}.{part}"
    return f"body.{index // 2}.{inside}.{kind}"


def config_of(tensors: Mapping[str, Tensor], family: str) -> AdapterConfig:
    """The design that these tensors, by our names, have."""
    light = "body.0.out_conv.weight" in tensors
    last = "out_conv" if light else "resnets.0.block1"
    levels = sum(name.endswith(f".{last}.weight") for name in tensors)
    first = tensors["body.0.in_conv.weight" if light else "conv_in.weight"]
    return AdapterConfig(
        in_channels=first.shape[1],
        channels=tuple(tensors[f"body.{level}.{last}.weight"].shape[0] for level in range(levels)),
        halved=(False, False, True, False) if family == "sdxl" else (False, True, True, True),
        unshuffle=16 if family == "sdxl" else 8,
        kernel=tensors["body.0.resnets.0.block2.weight"].shape[-1],
        blocks=sum(re.fullmatch(r"body\.0\.resnets\.\d+\.block1\.weight", name) is not None for name in tensors),
        light=light,
    )
