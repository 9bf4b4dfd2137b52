"""Folders of a server with an extension of each kind that faces have to do with, and a control model."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.fake_engine import FakeEngine, FakeModels
from webui.checkpoints.header import read_header
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings

TOYBOX = Path(__file__).parents[1] / "models" / "Stable-diffusion" / "toybox.safetensors"
UNET = "model.diffusion_model."
WIDTHS = (3, 16, 16, 32, 32, 96, 96, 256)
SKETCH = """
[extension]
id = "sketch"
name = "Sketch"
version = "1.2.0"
api = "1"
description = "Maps for tests."
hooks = ["after_cfg"]
[[preprocessor]]
id = "lines"
label = "Lines"
group = "Canny"
entry = "main:lines"
kind = "edges"
resolution = 512
param = [
  { id = "low", type = "int", min = 1, max = 255, default = 100 },
  { id = "high", type = "int", min = 1, max = 255, default = 200 },
  { id = "thick", type = "bool" },
]
[[accordion]]
label = "Sketching"
tabs = ["txt2img", "img2img"]
fields = [
  { id = "strength", type = "float", min = 0, max = 2, step = 0.1, default = 0.5 },
  { id = "ink", type = "choice", choices = ["black", "blue"] },
]
[[setting]]
id = "quality"
type = "int"
min = 1
max = 9
default = 3
[[route]]
name = "echo"
entry = "main:echo"
"""


@contextlib.contextmanager
def steered_runtime(root: Path) -> Iterator[Runtime]:
    """A server's parts over a fake engine, with the extension Sketch and a control model."""
    write_extension(root / "extensions" / "sketch")
    write_control_model(root / "models")
    allow(root / "data", "sketch")
    settings = Settings(
        models_dir=root / "models", output_dir=root / "out", data_dir=root / "data",
        extensions_dirs=(root / "extensions",),
    )  # fmt: skip
    with Runtime(settings, lambda on_event: FakeEngine(on_event, step_seconds=0.001), FakeModels()) as runtime:
        yield runtime


def write_extension(folder: Path, text: str = SKETCH) -> Path:
    """An extension's folder; its code is never run by the faces."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extension.toml").write_text(text)
    (folder / "main.py").write_text("raise RuntimeError('faces must not import this')\n")
    return folder


def allow(data_dir: Path, *ids: str) -> None:
    """As if the user had allowed these extensions."""
    data_dir.mkdir(parents=True, exist_ok=True)
    choices = {"extensions": {id: {"enabled": True, "allowed": True} for id in ids}}
    (data_dir / "extensions.json").write_text(json.dumps(choices))


def write_control_model(models_dir: Path, name: str = "tiny-canny") -> Path:
    """A file whose header is that of a ControlNet for Toybox; its numbers are zeros."""
    header = read_header(TOYBOX)
    kept = ("time_embed", "input_blocks", "middle_block")
    shapes = {
        entry.removeprefix(UNET): tensor.shape
        for entry, tensor in header.tensors.items()
        if entry.startswith(UNET) and entry.removeprefix(UNET).startswith(kept)
    }
    width = shapes["input_blocks.0.0.weight"][0]
    shapes |= {f"input_hint_block.{2 * i}.weight": (b, a, 3, 3) for i, (a, b) in enumerate(itertools.pairwise(WIDTHS))}
    shapes |= {"input_hint_block.14.weight": (width, 256, 3, 3), "zero_convs.0.0.weight": (width, width, 1, 1)}
    tensors = {f"control_model.{entry}": np.zeros(shape, np.float16) for entry, shape in shapes.items()}
    path = models_dir / "ControlNet" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {key: value for key, value in header.metadata.items() if key == "atelier.config"})
    return path
