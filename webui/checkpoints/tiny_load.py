"""A file of a tiny autoencoder -> its decoder."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch.nn.utils import convert_conv2d_weight_memory_format

from webui.checkpoints.header import Header, read_header
from webui.checkpoints.layouts import Source
from webui.checkpoints.load import check_finite, fill_module
from webui.checkpoints.tiny import tiny_names, tiny_sizes
from webui.nn.taesd import TinyDecoder


def load_tiny_decoder(
    path: Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> TinyDecoder:
    """The decoder of a file that `TinyCatalogue` lists.

    Raises:
        ModelError: the file is not whole, or was changed meanwhile.
    """
    header = read_header(path)
    names = tiny_names(header.tensors, "decoder")
    ours = Header({name: header.tensors[theirs] for name, theirs in names.items()})
    with torch.device("meta"):
        decoder = TinyDecoder(*tiny_sizes(header, "decoder"))
    with safe_open(path, framework="pt", device="cpu") as file:
        filled = fill_module(decoder, Source, ours, lambda name: file.get_tensor(names[name]), path.name)
        # channels last: a third less time on a CPU, where a preview takes longest
        ready = convert_conv2d_weight_memory_format(filled.to(device=device, dtype=dtype), torch.channels_last)
        return check_finite(ready, "decoder", path.name)
