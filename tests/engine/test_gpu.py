"""What a GPU must do; run on a machine that has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.test_networks import write_lora
from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.nn.streaming import CudaMover, Streamed
from webui.schema.memory import MemoryOptions, VramMode
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


def drawn_in(folder: Path, vram: VramMode, **fields: object) -> tuple[np.ndarray, int]:
    """The picture, and the most bytes that torch held on the GPU meanwhile."""
    pipe = Pipeline.load("tiny", models_dir=folder, device="cuda", dtype="float16", memory=MemoryOptions(vram))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    made = pipe.generate(Txt2Img(**{"prompt": "a red ball", "seed": 5, "width": 64, "steps": 3, **fields}))
    return np.asarray(made.images[0].image), torch.cuda.max_memory_allocated()


@pytest.mark.parametrize("vram", ["med", "low"])
def test_every_memory_mode_draws_the_same_bytes_in_less_memory(tmp_path: Path, vram: VramMode) -> None:
    write_tiny_checkpoint(tmp_path / "Stable-diffusion" / "tiny.safetensors", seed=1)
    whole, most = drawn_in(tmp_path, "high")
    picture, least = drawn_in(tmp_path, vram)
    assert np.array_equal(picture, whole)
    assert least < most


@pytest.mark.parametrize("vram", ["high", "med", "low"])
def test_networks_act_alike_in_every_memory_mode(tmp_path: Path, vram: VramMode) -> None:
    path = tmp_path / "Stable-diffusion" / "tiny.safetensors"
    write_tiny_checkpoint(path, seed=1)
    write_lora(tmp_path / "Lora" / "a.safetensors", path, 3)
    prompt = "a red ball <lora:a:0@0,1@0.5>"
    assert np.array_equal(drawn_in(tmp_path, vram, prompt=prompt)[0], drawn_in(tmp_path, "high", prompt=prompt)[0])


def test_blocks_that_are_copied_ahead_are_whole_when_they_are_used() -> None:
    device = torch.device("cuda")
    blocks = nn.ModuleList(nn.Linear(2048, 2048) for _ in range(12)).requires_grad_(False)
    x = torch.randn(64, 2048)
    streamed = Streamed(CudaMover(device))
    with torch.inference_mode():
        for _ in range(3):
            there = x.to(device)
            for block in streamed.each([*blocks]):
                there = block(there)
            whole = x.to(device)
            for block in blocks:
                whole = nn.functional.linear(whole, block.weight.to(device), block.bias.to(device))
            assert torch.equal(there, whole)
    assert all(block.weight.device.type == "cpu" for block in blocks)
