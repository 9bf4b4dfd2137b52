"""Memory over many changes of the model, with full-size files of random weights: `python -m benchmarks.switching`."""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.published import ldm_shapes
from webui.checkpoints.catalogue import Catalogue
from webui.engine.devices import place
from webui.engine.memory import machine, residency
from webui.engine.memory.machine import process_bytes
from webui.engine.models import Models
from webui.schema.memory import MemoryOptions

MIB = 1024**2


def write(path: Path, case: str, seed: int) -> None:
    """A checkpoint with the names and shapes of a published one, in float16."""
    drawn = torch.randn(2**22, generator=torch.Generator().manual_seed(seed)).mul_(0.02).half()  # enough of them
    shapes = ldm_shapes(case)
    tensors = {
        name: drawn.repeat(math.prod(shape) // len(drawn) + 1)[: math.prod(shape)].reshape(shape).clone()
        for name, shape in shapes.items()
    }
    save_file(tensors, path)


def anonymous_bytes() -> int:
    """What the process holds that is no mapped file."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--memory", type=float, default=0.001, help="GB for checkpoints; the default keeps one")
    parser.add_argument("--keep-arenas", action="store_true", help="do not hand freed memory back to the system")
    parser.add_argument("--case", default="sd15")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "Stable-diffusion"
        home.mkdir()
        for seed, name in enumerate("ab"):
            write(home / f"{name}.safetensors", given.case, seed)
        if given.keep_arenas:
            machine.give_back = lambda device: None
            residency.give_back = lambda device: None
        models = Models(Catalogue(Path(folder)), place("cpu", given.dtype), MemoryOptions(cpu_gb=given.memory))
        print("| switch | seconds | process | of it no file |\n| --- | --- | --- | --- |")
        for number in range(given.switches + 1):
            begun = time.monotonic()
            models.executor("ab"[number % 2])
            seconds = time.monotonic() - begun
            gc.collect()
            print(
                f"| {number} | {seconds:.2f} | {(process_bytes() or 0) // MIB} MiB | {anonymous_bytes() // MIB} MiB |"
            )


if __name__ == "__main__":
    main()
