"""Makes a run folder out of a finished checkpoint, so that its training goes on where no run folder is left."""

import argparse
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from models.toybox.config import Runs
from models.toybox.export import CHECKPOINT, PREFIXES
from models.toybox.training import save


def weights_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The float32 weights under a prefix, without it."""
    return {name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)}


def restore(checkpoint: Path, runs: Runs) -> None:
    """Writes the autoencoder and the diffusion weights as checkpoints of step 0 that hold no optimizer."""
    tensors = load_file(checkpoint)
    vae_prefix, unet_prefix, text_prefix = PREFIXES
    runs.root.mkdir(parents=True, exist_ok=True)
    autoencoder = weights_of(tensors, vae_prefix)
    save(runs.autoencoder, {"model": autoencoder, "ema": autoencoder, "step": 0})
    networks = {"unet.": weights_of(tensors, unet_prefix), "text.": weights_of(tensors, text_prefix)}
    diffusion = {head + name: value for head, part in networks.items() for name, value in part.items()}
    save(runs.diffusion, {"model": diffusion, "ema": diffusion, "step": 0})


def main() -> None:
    """`python -m models.toybox.restore`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--runs", type=Path, default=Runs().root)
    options = parser.parse_args()
    restore(options.checkpoint, Runs(options.runs))


if __name__ == "__main__":
    main()
