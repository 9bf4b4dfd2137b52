"""A VAE file -> the module that takes the place of a checkpoint's own."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from webui.checkpoints.header import Header, read_header
from webui.checkpoints.layouts import Source
from webui.checkpoints.load import check_finite, fill_module
from webui.checkpoints.names import vae_names
from webui.nn.config import VAEConfig
from webui.nn.vae import VAE
from webui.schema.errors import ModelError


def load_vae(
    path: Path, config: VAEConfig, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> VAE:
    """The VAE of a file in ldm's or diffusers' layout, as a checkpoint with this config needs it.

    Raises:
        ModelError: the file is none, or of another architecture.
    """
    header = read_header(path)
    theirs = vae_names(header.tensors)
    if not theirs:
        raise ModelError(f"{path.name} is no VAE.", "Choose another one.")
    ours = Header({name: header.tensors[known] for name, known in theirs.items()}, header.metadata)
    with torch.device("meta"):
        vae = VAE(config)
    with safe_open(path, framework="pt", device="cpu") as file:
        filled = fill_module(vae, Source, ours, lambda name: file.get_tensor(theirs[name]), path.name)
        return check_finite(filled.to(device=device, dtype=dtype), "VAE", path.name)
