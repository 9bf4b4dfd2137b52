"""Draws pictures with an exported checkpoint: a plain loop for looking at a model in training.

The web UI has its own pipeline; here many prompts go through together, by Euler steps of the probability flow
(Karras et al. 2022, arXiv:2206.00364, Algorithm 1 without churn) and guidance (Ho & Salimans 2022,
arXiv:2207.12598, eq. 6).
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.toybox.export import CHECKPOINT, EXAMPLES
from models.toybox.training import channels_last
from webui.checkpoints.load import LoadedModel, load_checkpoint
from webui.diffusion.denoiser import c_in, to_denoised
from webui.diffusion.schedules import NoiseSchedule
from webui.nn.taps import Controls

Steer = Callable[[Tensor, Tensor, Tensor], Controls]
"""Rows of the U-Net (2b c h w), cond before uncond, timesteps (2b,), context (2b n d) -> what is added to it."""


@dataclass(frozen=True)
class Model:
    """Everything that turns a prompt into a picture."""

    loaded: LoadedModel
    schedule: NoiseSchedule

    @torch.inference_mode()
    def draw(
        self,
        prompts: Sequence[str],
        seed: int = 0,
        steps: int = 20,
        cfg_scale: float = 4.0,
        steer: Steer | None = None,
    ) -> Tensor:
        """Pictures (b 3 h w) in -1..1. steer: gives the residuals of every call of the U-Net."""
        vae, config = self.loaded.vae, self.loaded.config
        side = config.native_size // vae.config.downscale
        noise = torch.randn(
            len(prompts), vae.config.z_channels, side, side, generator=torch.Generator().manual_seed(seed)
        )
        context = self.encode([*prompts, *[""] * len(prompts)])
        times = np.linspace(self.schedule.steps - 1, 0, steps).round().astype(int)
        sigmas = [*self.schedule.sigmas[times.copy()].tolist(), 0.0]
        x = noise * (1 + sigmas[0] ** 2) ** 0.5
        for (sigma, following), time in zip(pairwise(sigmas), times, strict=True):
            rows = (x * c_in(sigma)).repeat(2, 1, 1, 1)
            with torch.autocast("cpu", torch.bfloat16):
                times_of_rows = torch.full((len(rows),), float(time))
                controls = steer(rows, times_of_rows, context) if steer else None
                output = self.loaded.unet(rows, times_of_rows, context, controls=controls)
            cond, uncond = output.float().chunk(2)
            denoised = to_denoised(config.prediction, uncond + cfg_scale * (cond - uncond), x, sigma)
            x = x + (x - denoised) / sigma * (following - sigma)
        with torch.autocast("cpu", torch.bfloat16):
            return vae.decode(vae.from_latent(x)).float().clamp(-1, 1)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> context (b n d)."""
        tokenizer = self.loaded.tokenizers[0]
        ids = torch.tensor([tokenizer.chunks(text)[0].ids for text in texts])
        hidden: Tensor = self.loaded.texts[0](ids).hidden
        return hidden


def load_model(path: Path) -> Model:
    """Reads what `export` wrote, as the web UI does."""
    loaded = load_checkpoint(path)
    channels_last(loaded.unet)
    channels_last(loaded.vae)
    return Model(loaded, NoiseSchedule(loaded.config.schedule))


def grid(pictures: Tensor, columns: int) -> Image.Image:
    """(n 3 h w) in -1..1 -> one picture, `columns` to a row."""
    pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(pixels[i : i + columns]), 1) for i in range(0, len(pixels), columns)]
    return Image.fromarray(np.concatenate(rows, 0))


def main() -> None:
    """`python -m models.toybox.sample grid.png`: four pictures of every example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--each", type=int, default=4)
    options = parser.parse_args()
    model = load_model(options.checkpoint)
    prompts = [prompt for prompt in EXAMPLES for _ in range(options.each)]
    pictures = model.draw(prompts, steps=options.steps, cfg_scale=options.cfg_scale)
    grid(pictures, 2 * options.each).save(options.output)


if __name__ == "__main__":
    main()
