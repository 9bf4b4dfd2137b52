"""ControlNet, ControlNet-Union and Control-LoRA: copies of the U-Net's encoder that give residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from webui.ext import (
    Base,
    ControlAdapter,
    ControlInfo,
    ControlNet,
    ControlNetConfig,
    ControlNetUnion,
    Header,
    Hint,
    Match,
    Residuals,
    UnetRows,
    control_info,
    controlnet_state,
    filled,
    load_controlnet,
    union_type,
)

REPAINT = 7
"""The union type whose masked pixels are black."""


def matched(header: Header, kind: str) -> Match | None:
    """The match of a file of this kind; the core adds what the file's name tells."""
    info = control_info(header)
    return Match(info.kind, info.family, facts={"info": info}) if info is not None and info.kind == kind else None


class PlainControlNet(ControlAdapter):
    """ControlNet (Zhang et al. 2023, arXiv:2302.05543). What the hint adds is worked out once per pass."""

    KIND = "ControlNet"

    def __init__(self, model: ControlNet) -> None:
        self.model = model

    @classmethod
    def probe(cls, header: Header) -> Match | None:
        return matched(header, cls.KIND)

    @classmethod
    def load(cls, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Self:
        return cls(cls.network(weights, match.facts["info"], base, device))

    @classmethod
    def network(cls, weights: Mapping[str, Tensor], info: ControlInfo, base: Base, device: torch.device) -> ControlNet:
        """The module of a file of this kind, filled."""
        return load_controlnet(weights, info, base, device)

    def prepare(self, hint: Hint) -> Any:
        """The features of the hint, (1 c h w)."""
        return self.model.input_hint_block(channels(hint.image, self.model.control.hint_channels))

    def residuals(self, call: UnetRows, prepared: Any) -> Residuals:
        x, y = latent_of(self.model, call), vector_of(self.model, call)
        emb = self.model.embed(call.timesteps, y, x.dtype)
        return Residuals(*self.model.residuals(x, prepared, emb, call.context))

    def modules(self) -> tuple[nn.Module, ...]:
        return (self.model,)


class ControlLora(PlainControlNet):
    """Control-LoRA (https://huggingface.co/stabilityai/control-lora): a ControlNet whose weights are the checkpoint's
    own and a difference of low rank; what stands whole in the file is taken as it is."""

    KIND = "Control-LoRA"

    @classmethod
    def network(cls, weights: Mapping[str, Tensor], info: ControlInfo, base: Base, device: torch.device) -> ControlNet:
        config = ControlNetConfig(base.config, info.hint_channels, info.hint_widths)
        return filled(lambda: ControlNet(config), LoraWeights(weights, base.weights), base.dtype, device)


class LoraWeights(Mapping[str, Tensor]):
    """W = W_file where the file has it, else W_unet, and W_unet + up down for matrices of low rank."""

    def __init__(self, weights: Mapping[str, Tensor], unet: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._unet = unet

    def __contains__(self, name: object) -> bool:
        return name in self._weights or name in self._unet

    def __getitem__(self, name: str) -> Tensor:
        if name in self._weights:
            return self._weights[name]
        whole = self._unet[name]
        stem = name.removesuffix(".weight")
        if not name.endswith(".weight") or f"{stem}.up" not in self._weights:
            return whole.cpu()
        up, down = self._weights[f"{stem}.up"].float().flatten(1), self._weights[f"{stem}.down"].float().flatten(1)
        return whole.cpu().float() + (up @ down).reshape(whole.shape)

    def __iter__(self) -> Any:
        return iter({*self._weights, *self._unet})

    def __len__(self) -> int:
        return len({*self._weights, *self._unet})


@dataclass(frozen=True)
class UnionHint:
    """Features of the hint (1 c h w) and its kind."""

    features: Tensor
    kind: int


class Union(PlainControlNet):
    """ControlNet-Union for SDXL: the kind of the hint is told to the network."""

    KIND = "ControlNet-Union"
    model: ControlNetUnion

    @classmethod
    def network(
        cls, weights: Mapping[str, Tensor], info: ControlInfo, base: Base, device: torch.device
    ) -> ControlNetUnion:
        config = ControlNetConfig(info.unet, info.hint_channels, info.hint_widths)
        whole = controlnet_state(weights, base)
        renamed = {name.replace(".attn.in_proj.", ".attn.in_proj_"): tensor for name, tensor in whole.items()}
        return filled(lambda: ControlNetUnion(config, info.union_types), renamed, base.dtype, device)

    def prepare(self, hint: Hint) -> UnionHint:
        kind = union_type(hint.settings)
        if kind is None or kind >= self.model.types:
            raise ValueError("the union type of the hint is not known")
        image = hint.image
        if kind == REPAINT and hint.mask is not None:
            image = image * (1 - hint.mask)
        return UnionHint(self.model.input_hint_block(image), kind)

    def residuals(self, call: UnetRows, prepared: UnionHint) -> Residuals:
        x, y = latent_of(self.model, call), vector_of(self.model, call)
        given = [prepared.features], [prepared.kind], call.timesteps, call.context, y
        return Residuals(*self.model.union(x, *given))


def latent_of(model: ControlNet, call: UnetRows) -> Tensor:
    """What the network sees: the latent without the extra channels of an inpainting U-Net."""
    return call.x[:, : model.config.in_channels]


def vector_of(model: ControlNet, call: UnetRows) -> Tensor | None:
    """The vector condition, where the network takes one."""
    return None if model.config.adm_channels is None else call.y


def channels(image: Tensor, count: int) -> Tensor:
    """A hint of `count` channels: grey from colours where one is wanted."""
    return image if count == image.shape[1] else image.mean(dim=1, keepdim=True).expand(-1, count, -1, -1)
