"""What a loaded model can do for a pass that extensions take part in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.engine.executor import Executor
from webui.networks.hypertaps import Tap
from webui.nn.config import ModelConfig
from webui.nn.unet import UNet
from webui.pipeline.work import DecodeLatent, EncodeImage, EncodeText
from webui.prompt.grammar import still_text
from webui.schema.requests import Request


class ModelTools:
    """`webui.ext.passes.Tools` of one job. executor: of the model that draws now."""

    def __init__(self, executor: Callable[[], Executor], request: Request) -> None:
        self._executor = executor
        self._request = request

    @property
    def config(self) -> ModelConfig:
        return self._executor().config

    @property
    def device(self) -> torch.device:
        return self._executor().facts.device

    @property
    def unet(self) -> UNet:
        return self._executor().unet

    @property
    def inputs(self) -> Mapping[str, Tap]:
        return self._executor().worn.inputs

    def run(self, call: Callable[[], Tensor]) -> Tensor:
        return self._executor().with_unet(call)

    def encode(self, prompt: str, negative_prompt: str, width: int, height: int) -> tuple[Cond, Cond]:
        """The conds of a prompt and its negative, of equal length; of what changes over the steps, the first words."""
        how = self._request.clip_skip, width, height, self._request.emphasis
        words, negative = still_text(prompt), still_text(negative_prompt, negative=True)
        texts = self._executor().encode_text(EncodeText(((words, 1.0),), negative, *how))  # by the networks that stand
        ((cond, _),) = texts.conds
        return cond, texts.uncond

    def encode_image(self, image: Tensor) -> Tensor:
        """(3 8h 8w) in -1..1 -> latent (c h w), the posterior's mean."""
        _, height, width = image.shape
        executor = self._executor()
        noise = torch.zeros(executor.facts.latent_shape(width, height))
        return executor.encode_image(EncodeImage(image, noise))

    def decode(self, latent: Tensor) -> Tensor:
        """(c h w) -> (3 8h 8w) in 0..1."""
        return self._executor().decode(DecodeLatent(latent))
