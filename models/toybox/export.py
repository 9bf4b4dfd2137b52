"""Writes a run's weights as one Stable Diffusion 1.x checkpoint, fp16, config and tokenizer in its header."""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.toybox.config import Runs, model_config
from models.toybox.data import Pictures, open_dataset
from models.toybox.tokenizer import WordTokenizer
from models.toybox.train_diffusion import Latents, open_latents
from models.toybox.training import load
from webui.diffusion.preview import fit_factors

CHECKPOINT = Path(__file__).parents[1] / "Stable-diffusion" / "toybox.safetensors"
PREFIXES = ("first_stage_model.", "model.diffusion_model.", "cond_stage_model.transformer.")
EXAMPLES = (
    "a big red ball on a green floor, blue sky",
    "a small blue cube on a white floor, orange sky",
    "a big yellow cone on a gray floor, black sky",
    "a big purple ring on a pink floor, white sky",
    "a person in a red shirt and blue pants waving on a green floor, blue sky",
    "a person in a yellow shirt and black pants raising both arms on a blue floor, orange sky",
    "a big green cylinder left of a small orange ball on a yellow floor, blue sky",
    "a person in a white shirt and brown pants with hands on hips and a big pink ball on a gray floor, black sky",
)
SETTINGS = {"cfg_scale": 4}
HINT = (
    "Toybox draws toy scenes of 128 x 128: a ball, cube, cylinder, cone or ring, big or small, in ten colours, "
    "or a person in a coloured shirt and pants, on a coloured floor under a blue, orange, black or white sky. "
    "It likes a CFG scale of 4."
)


def tensors_of(runs: Runs) -> dict[str, Tensor]:
    """All weights, fp16, under the names of SD 1.x files."""
    autoencoder, diffusion = load(runs.autoencoder), load(runs.diffusion)
    if autoencoder is None or diffusion is None:
        raise FileNotFoundError(f"{runs.root} holds no finished run: run train_autoencoder and train_diffusion first")
    vae_prefix, unet_prefix, text_prefix = PREFIXES
    prefixes = {"unet": unet_prefix, "text": text_prefix}
    named = {vae_prefix + name: value for name, value in autoencoder["ema"].items()}
    for name, value in diffusion["ema"].items():
        network, rest = name.split(".", 1)
        if network in prefixes:
            named[prefixes[network] + rest] = value
    return {name: value.half().contiguous() for name, value in named.items() if not name.endswith("position_ids")}


def preview_factors(latents: Latents, data: Pictures, count: int = 400) -> list[list[float]]:
    """The linear map (5 3) from a latent to the colour of the 8 x 8 pixels it stands for."""
    pictures = data.tensor(0, count)
    mean = (latents.mean[:count].float() - latents.shift) * latents.scale
    factors = fit_factors(mean, torch.nn.functional.adaptive_avg_pool2d(pictures, mean.shape[-1]))
    return [[round(value, 4) for value in row] for row in factors.tolist()]


def header(runs: Runs) -> dict[str, str]:
    """The checkpoint's metadata: every value is JSON."""
    latents = open_latents(runs.latents)
    config = model_config(latents.scale, latents.shift)
    about = {"hint": HINT, "examples": list(EXAMPLES[:6]), "settings": SETTINGS, "license": "MIT"}
    values = {
        "atelier.config": config.to_json(),
        "atelier.tokenizer": WordTokenizer.of_the_world().header(),
        "atelier.about": about,
        "atelier.preview": preview_factors(latents, open_dataset(runs.data)),
    }
    return {key: json.dumps(value) for key, value in values.items()}


def export(runs: Runs, path: Path) -> None:
    """Writes the checkpoint whole or not at all."""
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors_of(runs), partial, header(runs))
    partial.chmod(0o644)
    os.replace(partial, path)


def main() -> None:
    """`python -m models.toybox.export`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    options = parser.parse_args()
    export(Runs(options.runs), options.output)


if __name__ == "__main__":
    main()
