"""Trains the autoencoder: L1 and edges, with a little Kullback-Leibler (Kingma & Welling 2014, arXiv:1312.6114).

Most steps see crops of 64 x 64 around a subject and z = mean + 0.05 noise: sampling a learnt posterior from the
start ends in its collapse (std 1, mean 0). The last third sees whole pictures, whose norms differ, and learns the
posterior's width.
"""

import argparse
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.toybox.config import VAE_CONFIG, Runs
from models.toybox.data import Pictures, open_dataset
from models.toybox.training import channels_last, copy_of, counted, ema_update, learning_rate, load, log, save
from webui.nn.vae import VAE, Posterior

CROP, BATCH = 64, 16
FIRST_LOGVAR = -6.0  # a standard deviation of 0.05
KL_WEIGHT = 5e-5
SUBJECT_WEIGHT = 4.0


@dataclass(frozen=True)
class Batch:
    """pictures: (b 3 h w) in -1..1; weights: (b 1 h w), larger on subjects; noise: (b 4 h/8 w/8)."""

    pictures: Tensor
    weights: Tensor
    noise: Tensor


def sample_batch(data: Pictures, step: int, size: int, count: int) -> Batch:
    """Crops of size x size, most of them centred near a subject, half of them mirrored; all from the step's number."""
    rng = np.random.default_rng(step)
    images, weights = [], []
    for index in rng.integers(0, len(data), count):
        top, left = _corner(data.owners[index], size, rng)
        area = np.s_[top : top + size, left : left + size]
        flip = np.s_[:, :: -1 if rng.random() < 0.5 else 1]
        images.append(data.images[index][area][flip])
        weights.append(np.where(data.owners[index][area][flip] >= 0, SUBJECT_WEIGHT, 1.0))
    pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    side = size // VAE_CONFIG.downscale
    noise = torch.randn(count, VAE_CONFIG.z_channels, side, side, generator=torch.Generator().manual_seed(step))
    return Batch(pictures, torch.from_numpy(np.stack(weights)).float()[:, None], noise)


def _corner(owners: np.ndarray, size: int, rng: np.random.Generator) -> tuple[int, int]:
    room = owners.shape[0] - size
    seen = np.flatnonzero(owners >= 0)
    if len(seen) == 0 or rng.random() < 0.25:
        return int(rng.integers(0, room + 1)), int(rng.integers(0, room + 1))
    y, x = np.unravel_index(rng.choice(seen), owners.shape)
    shift = rng.integers(-size // 4, size // 4 + 1, 2)
    return tuple(np.clip(np.array([y, x]) - size // 2 + shift, 0, room).tolist())


def loss_of(picture: Tensor, target: Tensor, weights: Tensor, posterior: Posterior) -> Tensor:
    """|x - x'| + |edges - edges'| + KL(q(z|x) || N(0, 1)), all (b c h w) -> ()."""
    error = picture - target
    across = weights[..., 1:] * error.diff(dim=-1).abs()
    down = weights[..., 1:, :] * error.diff(dim=-2).abs()
    return (weights * error.abs()).mean() + 0.5 * (across.mean() + down.mean()) + KL_WEIGHT * kl(posterior)


def kl(posterior: Posterior) -> Tensor:
    """KL(N(mean, var) || N(0, 1)), the mean over all latents (arXiv:1312.6114, appendix B)."""
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()


def new_vae() -> VAE:
    """An autoencoder whose posterior starts narrow."""
    vae = VAE(VAE_CONFIG)
    quant_conv = dict(vae.quant_conv.named_parameters())
    with torch.no_grad():
        quant_conv["weight"][VAE_CONFIG.z_channels :] = 0
        quant_conv["bias"][VAE_CONFIG.z_channels :] = FIRST_LOGVAR
    return channels_last(vae)


def train(runs: Runs, steps: int, peak: float = 1e-3) -> None:
    """Trains to `steps`, going on from the run's checkpoint where there is one."""
    torch.manual_seed(0)
    data, vae = open_dataset(runs.data), new_vae()
    optimizer = torch.optim.AdamW(vae.parameters(), peak, betas=(0.9, 0.99), weight_decay=1e-4)
    ema, first = copy_of(vae), 0
    if state := load(runs.autoencoder):
        vae.load_state_dict(state["model"])
        if "optimizer" in state:  # a checkpoint of `restore` has none
            optimizer.load_state_dict(state["optimizer"])
        ema, first = state["ema"], state["step"]

    # not compiled: torch 2.13's compiled bfloat16 backward for CPUs lets no gradient past the first block
    def forward(pictures: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pictures)
            if pictures.shape[-1] == CROP:
                posterior = Posterior(posterior.mean, torch.full_like(posterior.mean, FIRST_LOGVAR))
            decoded = vae.decode(posterior.sample(noise))
        return loss_of(decoded.float(), pictures, weights, posterior)

    def fetch(step: int) -> Batch:
        whole = step >= steps * 2 // 3
        return sample_batch(data, step, data.images.shape[1] if whole else CROP, BATCH // 4 if whole else BATCH)

    mean = 0.0
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(fetch, first)
        for step in counted(first, steps):
            batch, ahead = ahead.result(), pool.submit(fetch, step + 1)
            optimizer.param_groups[0]["lr"] = learning_rate(step, steps, peak)
            pictures = batch.pictures.contiguous(memory_format=torch.channels_last)
            loss = forward(pictures, batch.weights, batch.noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema_update(ema, vae, step, 0.998)
            mean += (loss.item() - mean) * (0.01 if step - first > 100 else 0.1)
            if (step + 1) % 100 == 0:
                log.info("step %d: loss %.4f", step + 1, mean)
            if (step + 1) % 500 == 0 or step + 1 == steps:
                state = {"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step + 1}
                save(runs.autoencoder, state)


def main() -> None:
    """`python -m models.toybox.train_autoencoder --steps 8000`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--steps", type=int, default=8000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    train(Runs(options.runs), options.steps)


if __name__ == "__main__":
    main()
