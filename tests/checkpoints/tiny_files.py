"""Files of tiny autoencoders with random weights, in the layouts in which they are published."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor


def their_tiny(seed: int = 0, channels: int = 4) -> AutoencoderTiny:
    """diffusers' module, whose state has its own layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderTiny(latent_channels=channels).requires_grad_(False).eval()


def taesd_tensors(theirs: AutoencoderTiny, half: str) -> dict[str, Tensor]:
    """A half under TAESD's own names: there the decoder's first layer, without weights, counts."""
    start, shift = f"{half}.layers.", int(half == "decoder")
    cut = {name.removeprefix(start): one for name, one in theirs.state_dict().items() if name.startswith(start)}
    return {f"{int(name.split('.', 1)[0]) + shift}.{name.split('.', 1)[1]}": one for name, one in cut.items()}


def write_taesd(folder: Path, name: str = "taesd_decoder", seed: int = 0, channels: int = 4) -> Path:
    """A decoder as TAESD's author publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file(taesd_tensors(their_tiny(seed, channels), "decoder"), path)
    return path
