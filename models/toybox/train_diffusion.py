"""Trains the U-Net and the text encoder on encoded pictures.

Loss: the v form (Salimans & Ho 2022, arXiv:2202.00512) of the simplified loss of DDPM (Ho et al. 2020,
arXiv:2006.11239, eq. 14), its weight capped at low noise as in min-SNR (Hang et al. 2023, arXiv:2303.09556).
"""

import argparse
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.toybox.cells import CellReader, cell_loss, labels_of
from models.toybox.config import VAE_CONFIG, Runs, model_config
from models.toybox.data import Pictures, open_dataset
from models.toybox.tokenizer import WordTokenizer
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
from models.toybox.world import Person, Thing, augmented_caption, scene_of
from webui.diffusion.denoiser import q_sample_vp, training_target
from webui.diffusion.schedules import NoiseSchedule
from webui.nn.taps import Taps
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE

BATCH = 32
SNR_CAP = 5.0
EMA_DECAY = 0.999
CELL_WEIGHT = 0.03
MIDDLE = "middle_block.2"
"""Where the cells are read: the last layer at the coarsest level, before the decoder."""


@dataclass(frozen=True)
class Latents:
    """n encoded pictures: mean and std (n 4 h w) float16 of z; scale and shift make the latents' variance 1."""

    mean: Tensor
    std: Tensor
    scale: float
    shift: float

    def sample(self, indices: Tensor, noise: Tensor) -> Tensor:
        """Latents (b 4 h w) drawn from the posteriors of the given pictures."""
        z = self.mean[indices].float() + self.std[indices].float() * noise
        return (z - self.shift) * self.scale


class Diffusion(nn.Module):
    """The two networks that are trained together, and the layer that reads the middle of the U-Net."""

    def __init__(self) -> None:
        super().__init__()
        config = model_config()
        self.unet = channels_last(UNet(config.unet))
        self.text = build_text(config.texts[0])
        self.reader = CellReader(config.unet.widths[-1])

    def forward(self, x: Tensor, timesteps: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """x: (b c h w), timesteps: (b,), ids: (b n) -> v (b c h w), logits of the cells (b answers h w)."""
        seen: list[Tensor] = []

        def keep(state: Tensor) -> Tensor:
            seen.append(state)
            return state

        v: Tensor = self.unet(x, timesteps, self.text(ids).hidden, taps=Taps(blocks={MIDDLE: keep}))
        return v, self.reader(seen[0])


@torch.no_grad()
def encode_dataset(data: Pictures, vae: VAE, path: Path, batch: int = 25) -> None:
    """Writes mean and std of every picture's posterior, with the scale and shift that they ask for."""
    means, stds = [], []
    for start in range(0, len(data) - batch + 1, batch):
        pictures = data.tensor(start, start + batch)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pictures.contiguous(memory_format=torch.channels_last))
        means.append(posterior.mean.float().contiguous().half())
        stds.append((posterior.logvar.float() / 2).exp().contiguous().half())
    mean, std = torch.cat(means), torch.cat(stds)
    values = mean.float()
    shift, scale = values.mean(), 1 / (values.var() + std.float().square().mean()).sqrt()
    save_file({"mean": mean, "std": std, "shift": shift[None], "scale": scale[None]}, path)


def open_latents(path: Path) -> Latents:
    """Reads what `encode_dataset` wrote."""
    tensors = load_file(path)
    return Latents(tensors["mean"], tensors["std"], tensors["scale"].item(), tensors["shift"].item())


def loss_weights(alpha_bar: Tensor) -> Tensor:
    """1 where noise is strong, (cap / (SNR + 1)) where SNR = alpha_bar / (1 - alpha_bar) is above it: (b) -> (b)."""
    return (SNR_CAP * (1 - alpha_bar)).clamp(max=1.0)  # SNR + 1 = 1 / (1 - alpha_bar)


def spread_timesteps(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """One random timestep out of each of `count` equal parts of 0..steps: (count,)."""
    parts = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (parts * steps).long()


@dataclass(frozen=True)
class Batch:
    """latents, eps: (b 4 h w); timesteps: (b,); ids: (b n); cells: (b questions h w)."""

    latents: Tensor
    eps: Tensor
    timesteps: Tensor
    ids: Tensor
    cells: Tensor


@dataclass(frozen=True)
class Mixture:
    """What a batch is made of: shares of it come from pools of scene numbers (n,), the rest from all `count` scenes."""

    count: int
    pools: tuple[tuple[Tensor, float], ...]

    def choose(self, generator: torch.Generator) -> Tensor:
        """The scenes of one batch: (BATCH,)."""
        indices = torch.randint(self.count, (BATCH,), generator=generator)
        start = 0
        for pool, share in self.pools:
            end = start + round(BATCH * share)
            indices[start:end] = pool[torch.randint(len(pool), (end - start,), generator=generator)]
            start = end
        return indices


def mixture(count: int, things: float, people: float) -> Mixture:
    """Batches out of `count` scenes with shares of scenes that hold one object alone and one person alone."""
    alone: dict[type, list[int]] = {Thing: [], Person: []}
    for seed in range(count):
        subjects = scene_of(seed).subjects
        if len(subjects) == 1:
            alone[type(subjects[0])].append(seed)
    return Mixture(count, ((torch.tensor(alone[Thing]), things), (torch.tensor(alone[Person]), people)))


def sample_batch(latents: Latents, data: Pictures, tokenizer: WordTokenizer, scenes: Mixture, step: int) -> Batch:
    """The batch of a step: scenes, captions written anew, noise and timesteps, all from the step's number."""
    generator, rng = torch.Generator().manual_seed(step), random.Random(step)
    indices = scenes.choose(generator)
    noise, eps = torch.randn(2, BATCH, *latents.mean.shape[1:], generator=generator)
    ids = [tokenizer.encode(augmented_caption(scene_of(seed), rng)) for seed in indices.tolist()]
    timesteps = spread_timesteps(BATCH, 1000, generator)
    cells = labels_of(indices.tolist(), data.owners)
    return Batch(latents.sample(indices, noise), eps, timesteps, torch.tensor(ids), cells)


def train(runs: Runs, steps: int, peak: float, things: float, people: float) -> None:
    """Trains to `steps`, going on from the run's checkpoint where there is one."""
    torch.manual_seed(0)
    latents, tokenizer, model = open_latents(runs.latents), WordTokenizer.of_the_world(), Diffusion()
    data = open_dataset(runs.data)
    log.info("%d parameters, latents %s", sum(p.numel() for p in model.parameters()), tuple(latents.mean.shape))
    alphas_cumprod = NoiseSchedule(model_config().schedule).alphas_cumprod.float()
    optimizer = torch.optim.AdamW(model.parameters(), peak, betas=(0.9, 0.99), weight_decay=1e-2, fused=True)
    if taught := load(runs.text):
        model.text.load_state_dict(taught)
    ema, first, scenes = copy_of(model), 0, mixture(len(latents.mean), things, people)
    if state := load(runs.diffusion):
        # a checkpoint of `restore` has neither the reader nor an optimizer
        model.load_state_dict(model.state_dict() | state["model"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        ema, first = copy_of(model) | state["ema"], state["step"]

    def losses_of(x: Tensor, batch: Batch, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The simplified loss, and that of the cells."""
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            v, logits = model(x, batch.timesteps.float(), batch.ids)
        simple = (weights * (v.float() - target).square().mean((1, 2, 3))).mean()
        return simple, cell_loss(logits, batch.cells)

    mean = mean_cells = 0.0
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(sample_batch, latents, data, tokenizer, scenes, first)
        for step in counted(first, steps):
            batch, ahead = ahead.result(), pool.submit(sample_batch, latents, data, tokenizer, scenes, step + 1)
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak)
            alpha_bar = alphas_cumprod[batch.timesteps]
            level = alpha_bar[:, None, None, None]
            x = q_sample_vp(batch.latents, level, batch.eps).contiguous(memory_format=torch.channels_last)
            target = training_target("v", batch.latents, level, batch.eps)
            loss, cells = losses_of(x, batch, target, loss_weights(alpha_bar))
            (loss + CELL_WEIGHT * cells).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema_update(ema, model, step, EMA_DECAY)
            weight = 0.01 if step - first > 100 else 0.1
            mean, mean_cells = mean + (loss.item() - mean) * weight, mean_cells + (cells.item() - mean_cells) * weight
            if (step + 1) % 100 == 0:
                log.info("step %d: loss %.4f, of the cells %.3f", step + 1, mean, mean_cells)
            if (step + 1) % 100 == 0 or step + 1 == steps:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step + 1}
                save(runs.diffusion, state)


def load_vae(path: Path) -> VAE:
    """The autoencoder of a run, with the mean of its weights."""
    state = load(path)
    if state is None:
        raise FileNotFoundError(f"{path} is not there: run train_autoencoder first")
    vae = VAE(VAE_CONFIG)
    vae.load_state_dict(state["ema"])
    return channels_last(vae.eval())


def main() -> None:
    """`python -m models.toybox.train_diffusion --steps 10000`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--pictures", type=int, default=20000, help="how many are encoded, at the first start")
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--things", type=float, default=0.5, help="share of each batch from scenes of one object")
    parser.add_argument("--people", type=float, default=0.3, help="share of each batch from scenes of one person")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    runs = Runs(options.runs)
    if not runs.latents.exists():
        encode_dataset(open_dataset(runs.data).first(options.pictures), load_vae(runs.autoencoder), runs.latents)
        log.info("encoded the pictures")
    train(runs, options.steps, options.rate, options.things, options.people)


if __name__ == "__main__":
    main()
