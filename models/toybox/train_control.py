"""Trains a control net (Zhang et al. 2023, arXiv:2302.05543) for the Toybox that ships: Canny edges, depth or pose.

The U-Net, the text encoder and the autoencoder stay as they are in the checkpoint. The net begins as a copy of the
U-Net's encoder with zero convolutions; its loss is that of `train_diffusion`. So that the hint is read from the first
step on, and not only once the zero convolutions have grown (the paper's "sudden convergence"), its middle is also asked
what stands in each cell (`cells.py`).
"""

import argparse
import json
import logging
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.toybox.cells import CellReader, cell_loss, labels_of
from models.toybox.config import UNET_CONFIG, Runs, model_config
from models.toybox.data import Pictures, open_dataset
from models.toybox.export import CHECKPOINT
from models.toybox.hints import KINDS, Hints, open_depth
from models.toybox.sample import Model, load_model
from models.toybox.train_diffusion import (
    BATCH,
    EMA_DECAY,
    Latents,
    Mixture,
    encode_dataset,
    loss_weights,
    mixture,
    open_latents,
    spread_timesteps,
)
from models.toybox.training import (
    PlainAttention,
    channels_last,
    copy_of,
    counted,
    ema_update,
    learning_rate,
    load,
    log,
    save,
)
from models.toybox.world import augmented_caption, scene_of
from webui.checkpoints.control_layouts import PREFIX
from webui.diffusion.denoiser import q_sample_vp, training_target
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.nn.taps import Controls

FOLDER = CHECKPOINT.parents[1] / "ControlNet"
CONTROL_CONFIG = ControlNetConfig(UNET_CONFIG, hint_widths=(8, 16, 32, 96), short_middle=True)
CELL_WEIGHT = 0.03
WITHOUT_PROMPT = 0.2
"""How often the caption is left out, so that the hint alone must do (arXiv:2302.05543, section 3.4)."""
SHARES = {"canny": (0.4, 0.4), "depth": (0.4, 0.4), "pose": (0.05, 0.6)}
"""Of each batch: scenes of one object alone, of one person alone."""


@dataclass(frozen=True)
class Batch:
    """latents, eps: (b 4 h w); hints: (b 3 8h 8w) in 0..1; timesteps: (b,); ids: (b n); cells: (b questions h w)."""

    latents: Tensor
    eps: Tensor
    hints: Tensor
    timesteps: Tensor
    ids: Tensor
    cells: Tensor


@dataclass(frozen=True)
class Lessons:
    """What a net learns from."""

    model: Model
    latents: Latents
    data: Pictures
    hints: Hints
    scenes: Mixture

    def batch(self, step: int) -> Batch:
        """The batch of a step: scenes, hints, new captions, noise and timesteps, all from the step's number."""
        generator, rng = torch.Generator().manual_seed(step), random.Random(step)
        indices = self.scenes.choose(generator)
        noise, eps = torch.randn(2, BATCH, *self.latents.mean.shape[1:], generator=generator)
        hints = np.stack([self.hints.of(number, rng) for number in indices.tolist()])
        captions = [self._caption(number, rng) for number in indices.tolist()]
        tokenizer = self.model.loaded.tokenizers[0]
        return Batch(
            self.latents.sample(indices, noise),
            eps,
            torch.from_numpy(hints).permute(0, 3, 1, 2).float() / 255,
            spread_timesteps(BATCH, 1000, generator),
            torch.tensor([tokenizer.chunks(caption)[0].ids for caption in captions]),
            labels_of(indices.tolist(), self.data.owners),
        )

    @staticmethod
    def _caption(number: int, rng: random.Random) -> str:
        return "" if rng.random() < WITHOUT_PROMPT else augmented_caption(scene_of(number), rng)


class Pupil(nn.Module):
    """The control net, and the layer that reads its middle."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.net = channels_last(ControlNet(CONTROL_CONFIG))
        self.reader = CellReader(UNET_CONFIG.widths[-1])
        encoder = {name: value for name, value in unet.state_dict().items() if name in self.net.state_dict()}
        self.net.load_state_dict(encoder, strict=False)

    def forward(
        self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """As `ControlNet.forward` -> residuals of the skips, of the middle, logits of the cells (b answers h w)."""
        seen: list[Tensor] = []
        handle = self.net.middle_block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        skips, middle = self.net(x, hint, timesteps, context)
        handle.remove()
        return skips, middle, self.reader(seen[0])


def losses(model: Model, pupil: Pupil, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss of `train_diffusion` with the net's residuals in the U-Net, and that of the cells."""
    alpha_bar = model.schedule.alphas_cumprod.float()[batch.timesteps]
    level = alpha_bar[:, None, None, None]
    x = q_sample_vp(batch.latents, level, batch.eps).contiguous(memory_format=torch.channels_last)
    target = training_target("v", batch.latents, level, batch.eps)
    hints, times = batch.hints.contiguous(memory_format=torch.channels_last), batch.timesteps.float()
    with torch.autocast("cpu", torch.bfloat16), PlainAttention():
        with torch.no_grad():
            context = model.loaded.texts[0](batch.ids).hidden
        skips, middle, logits = pupil(x, hints, times, context)
        v = model.loaded.unet(x, times, context, controls=Controls(skips, middle))
    errors = (v.float() - target).square().mean((1, 2, 3))
    return (loss_weights(alpha_bar) * errors).mean(), cell_loss(logits, batch.cells)


def train(lessons: Lessons, path: Path, steps: int, peak: float) -> None:
    """Trains to `steps`, going on from the checkpoint at path where there is one."""
    torch.manual_seed(0)
    lessons.model.loaded.unet.requires_grad_(False)
    pupil = Pupil(lessons.model.loaded.unet)
    log.info("%d parameters", sum(p.numel() for p in pupil.net.parameters()))
    optimizer = torch.optim.AdamW(pupil.parameters(), peak, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    ema, first = copy_of(pupil), 0
    if state := load(path):
        pupil.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema, first = state["ema"], state["step"]
    mean = mean_cells = 0.0
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(lessons.batch, first)
        for step in counted(first, steps):
            batch, ahead = ahead.result(), pool.submit(lessons.batch, step + 1)
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak, warmup=100)
            loss, cells = losses(lessons.model, pupil, batch)
            (loss + CELL_WEIGHT * cells).backward()
            torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema_update(ema, pupil, step, EMA_DECAY)
            weight = 0.01 if step - first > 100 else 0.1
            mean, mean_cells = mean + (loss.item() - mean) * weight, mean_cells + (cells.item() - mean_cells) * weight
            if (step + 1) % 50 == 0 or step + 1 == steps:
                log.info("step %d: loss %.4f, of the cells %.3f", step + 1, mean, mean_cells)
                state = {"model": pupil.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step + 1}
                save(path, state)


def export(kind: str, path: Path, output: Path) -> None:
    """Writes a checkpoint's net as a file that the web UI reads: ldm names, fp16, its architecture in the header."""
    state = load(path)
    if state is None:
        raise FileNotFoundError(f"{path} is not there: train the net first")
    weights = {name.removeprefix("net."): value for name, value in state["ema"].items() if name.startswith("net.")}
    tensors = {PREFIX + name: value.half().contiguous() for name, value in weights.items()}
    config = {"family": "toybox", "unet": model_config().to_json()["unet"]}
    about = {"hint": f"Steers Toybox by {kind}.", "license": "MIT"}
    partial = output.with_suffix(".partial")
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, partial, {"atelier.config": json.dumps(config), "atelier.about": json.dumps(about)})
    partial.chmod(0o644)
    os.replace(partial, output)


def lessons_of(kind: str, runs: Runs, pictures: int) -> Lessons:
    """The lessons of one kind of map, out of a run's rendered pictures; what is not there yet is made."""
    model, data = load_model(CHECKPOINT), open_dataset(runs.data)
    if not runs.latents.exists():
        encode_dataset(data.first(pictures), model.loaded.vae, runs.latents)
    latents = open_latents(runs.latents)
    count = len(latents.mean)
    depth = open_depth(runs.depth, count) if kind == "depth" else None
    return Lessons(model, latents, data, Hints(kind, data, depth), mixture(count, *SHARES[kind]))


def main() -> None:
    """`python -m models.toybox.train_control canny`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pictures", type=int, default=20000, help="how many are encoded, at the first start")
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    runs = Runs(options.runs)
    train(lessons_of(options.kind, runs, options.pictures), runs.control(options.kind), options.steps, options.rate)
    export(options.kind, runs.control(options.kind), FOLDER / f"toybox-{options.kind}.safetensors")


if __name__ == "__main__":
    main()
