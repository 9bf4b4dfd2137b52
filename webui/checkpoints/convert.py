"""Turn a pickle (.ckpt, .pt, .bin, .pth) into a safetensors file beside it.

This is the one place that reads pickles, and it does so in a process of its own that is thrown away, with torch's
`weights_only` unpickler, which builds tensors and plain containers and refuses everything else.

    python -m webui.checkpoints.convert SOURCE TARGET      what that process runs
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from webui.checkpoints.header import PICKLES, read_header
from webui.checkpoints.trees import shown_path
from webui.schema.errors import DiskError, ModelError

TIMEOUT = 1800.0
"""Seconds: reading and writing ten gigabytes on a slow disk."""
UNSAFE, UNREADABLE = 3, 4
"""Exit statuses of the process."""


def convert_checkpoint(source: Path, timeout: float = TIMEOUT) -> Path:
    """Write the tensors of a pickle as `source` with the ending .safetensors; the pickle stays.

    Raises:
        ModelError: no pickle, damaged, or with anything but tensors in it. DiskError: the file cannot be written.
    """
    target = source.with_suffix(".safetensors")
    if source.suffix.lower() not in PICKLES:
        raise ModelError(f"{source.name} is no pickle by its name.", f"Pickles end in {', '.join(PICKLES)}.")
    if not source.is_file():
        raise ModelError(f"There is no file {source}.", "Check the name.")
    if target.exists():
        raise ModelError(f"{target.name} is there already.", "Use it, or move it away first.")
    with tempfile.TemporaryDirectory(dir=_writable(source.parent), prefix=".convert-") as folder:
        written = Path(folder) / target.name
        _run(source, written, timeout)
        read_header(written)
        os.replace(written, target)
    return target


def _writable(folder: Path) -> Path:
    if not os.access(folder, os.W_OK):
        cure = "Change its rights, or move the file to another folder."
        raise DiskError(f"{shown_path(folder)} cannot be written to.", cure)
    return folder


def _run(source: Path, target: Path, timeout: float) -> None:
    command = [sys.executable, "-m", "webui.checkpoints.convert", str(source.absolute()), str(target.absolute())]
    root = Path(__file__).parents[2]  # where the package webui lies, whatever the present folder is
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=timeout, check=False, text=True)
    except subprocess.TimeoutExpired:
        raise ModelError(f"Reading {source.name} took over {timeout:g} seconds.", "Is the disk very slow?") from None
    if done.returncode == UNSAFE:
        raise ModelError(
            f"{source.name} holds more than tensors{_word_of(done.stderr)}; nothing of it was run.",
            "Do not use this file: get the model as safetensors.",
        )
    if done.returncode:
        raise ModelError(f"{source.name} cannot be converted{_word_of(done.stderr)}.", "Download it again.")


def _word_of(text: str) -> str:
    """The last line that the process wrote, which is its own word where it had one."""
    lines = text.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""


def main(source: Path, target: Path) -> int:
    """Read a pickle and write a safetensors file; runs in the process that is thrown away. Returns its exit status."""
    import pickle

    import torch
    from safetensors.torch import save_file

    from webui.checkpoints.unpack import unpacked

    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict, *_inert_globals(source)]):
            loaded = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+)", str(error))
        return _fail(UNSAFE, f"it calls {called[1]}" if called else "it is written in an unknown way")
    except Exception:  # a damaged file raises whatever it brings about
        return _fail(UNREADABLE, "it is damaged or no pickle of tensors")
    found, metadata = unpacked(loaded)
    tensors = {name: tensor.clone().contiguous() for name, tensor in found.items()}
    if not tensors:
        return _fail(UNREADABLE, "it holds no tensors")
    try:
        save_file(tensors, target, metadata or None)
    except OSError as error:
        return _fail(UNREADABLE, error.strerror or str(error))
    return 0


class _Inert:
    """Stands in for what the first SD 1.x files hold beside their tensors: a training program's settings."""

    def __init__(self, *arguments: Any) -> None:
        """Take whatever the training program's class takes."""


def _inert_globals(source: Path) -> list[Any]:
    """Stand-ins for the classes of PyTorch Lightning that a file names; none of its code is there or run."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except Exception:  # an older form or a damaged file: `torch.load` has the say
        return []
    return [(_Inert, name) for name in names if name.startswith("pytorch_lightning.")]


def _fail(status: int, reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
