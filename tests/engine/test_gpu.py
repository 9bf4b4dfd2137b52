"""What a GPU must do; run on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.schema.requests import Txt2Img

pytestmark = pytest.mark.gpu


def test_a_gpu_draws_the_picture_that_the_cpu_draws(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors", seed=1)
    request = Txt2Img(prompt="a red ball", seed=5, width=64, height=48, steps=4, sampler="Euler a")
    pictures = [
        np.asarray(
            Pipeline.load("tiny", models_dir=tmp_path, device=device, dtype="float32").generate(request).images[0].image
        ).astype(int)
        for device in ("cpu", "cuda")
    ]
    assert (abs(pictures[0] - pictures[1]).max(axis=2) <= 2).mean() >= 0.999


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_draws_nearly_the_same_picture(tmp_path: Path, dtype: str) -> None:
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors", seed=1)
    request = Txt2Img(prompt="a red ball", seed=5, width=64, height=48, steps=4, sampler="Euler")
    pictures = [
        np.asarray(
            Pipeline.load("tiny", models_dir=tmp_path, device="cuda", dtype=kind).generate(request).images[0].image
        ).astype(int)
        for kind in ("float32", dtype)
    ]
    assert abs(pictures[0] - pictures[1]).mean() < 4
