"""The options of memory, by the names that users know from other programs. Of every command that draws."""

from __future__ import annotations

import argparse
from typing import Any

from webui.schema.memory import MemoryOptions


def add_memory_options(group: argparse._ArgumentGroup) -> None:
    """At most one of the modes; the limits."""
    modes = group.add_mutually_exclusive_group()
    for words, mode, told in (
        (("--medvram",), "med", "text encoders, U-Net and VAE take turns on the GPU"),
        (("--medvram-sdxl",), "med-sdxl", "the same for SDXL checkpoints alone"),
        (("--lowvram",), "low", "the U-Net comes to the GPU block by block, too: least memory, slowest"),
        (("--highvram", "--always-gpu"), "high", "what was used stays on the GPU while it has room"),
    ):
        modes.add_argument(*words, dest="vram", action="store_const", const=mode, default="auto", help=told)
    group.add_argument(
        "--gpu-memory", type=gigabytes, default=0.0, metavar="GB", help="use no more of the GPU (default: what is free)"
    )
    group.add_argument(
        "--memory", type=gigabytes, default=0.0, metavar="GB",
        help="keep checkpoints of this size in the machine's memory (default: half of it)",
    )  # fmt: skip


def memory_of(options: Any) -> MemoryOptions:
    """What was given: an object with the names of the options."""
    return MemoryOptions(options.vram, options.gpu_memory, options.memory)


def gigabytes(text: str) -> float:
    """A number of GB. Raises ValueError, which the parser tells."""
    number = float(text)
    if not 0 <= number < 1e6:
        raise ValueError(text)
    return number
