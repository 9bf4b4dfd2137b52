"""k-diffusion's samplers, without the packages that its other modules want."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import PIL.Image
import safetensors
import scipy.integrate
import tqdm.auto  # noqa: F401  (loaded before the stand-ins, so that they stay loaded after them)

ABSENT = ("torchvision", "torchvision.transforms", "torchdiffeq", "torchsde", "wandb", "clip", "jsonmerge")
LOADED_BEFORE = (PIL.Image, safetensors, scipy.integrate)


@cache
def k_diffusion(module: str) -> ModuleType:
    """`k_diffusion.<module>`, of "sampling" and "external"; what it imports and does not need here is a stand-in."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the parity tests want k-diffusion: pip install --no-deps k-diffusion==0.1.1.post1")
    package = ModuleType("k_diffusion")
    package.__path__ = [str(Path(spec.origin).parent)]
    with patch.dict(sys.modules, {"k_diffusion": package, **{name: MagicMock() for name in ABSENT}}):
        return importlib.import_module(f"k_diffusion.{module}")
