"""The model files that an extension declares, as its hooks and routes get at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.schema.errors import NotFound


@dataclass(frozen=True)
class ModelFiles:
    """`job.models`, and the argument `models` of a route.

    folder: where the model files of all extensions lie. path: of a declared [[model]]; raises NotFound that says what
    to put where. load: what a function makes, kept under the key until the memory is needed; it may be given back on
    the CPU. device: where to compute.
    """

    folder: Path
    path: Callable[[str], Path]
    load: Callable[[str, Callable[[], Any]], Any]
    device: str = "cpu"


def no_files(id: str) -> Path:
    """`ModelFiles.path` where there are no models, as in most tests. Raises NotFound."""
    raise NotFound(f"There is no folder of models to look for {id!r} in.")


NO_MODELS = ModelFiles(Path(), no_files, lambda _key, make: make())
