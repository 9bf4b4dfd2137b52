"""What a loaded model can do for a pass that extensions take part in."""

from __future__ import annotations

import torch
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.engine.executor import Executor
from webui.pipeline.work import DecodeLatent, EncodeImage, EncodeText


class ModelTools:
    """`webui.ext.passes.Tools` of one job. clip_skip: the request's."""

    def __init__(self, executor: Executor, clip_skip: int) -> None:
        self.config = executor.config
        self.device = executor.facts.device
        self.unet = executor.unet
        self._executor = executor
        self._clip_skip = clip_skip

    def encode(self, prompt: str, negative_prompt: str, width: int, height: int) -> tuple[Cond, Cond]:
        """The conds of a prompt and its negative, of equal length."""
        texts = self._executor.encode_text(EncodeText(prompt, negative_prompt, self._clip_skip, width, height))
        return texts.cond, texts.uncond

    def encode_image(self, image: Tensor) -> Tensor:
        """(3 8h 8w) in -1..1 -> latent (c h w), the posterior's mean."""
        _, height, width = image.shape
        noise = torch.zeros(self._executor.facts.latent_shape(width, height))
        return self._executor.encode_image(EncodeImage(image, noise))

    def decode(self, latent: Tensor) -> Tensor:
        """(c h w) -> (3 8h 8w) in 0..1."""
        return self._executor.decode(DecodeLatent(latent))
