"""U-Nets in 8 bits, from the option to the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.test_networks import PLAIN, close, write_lora
from tests.ext.studio import Studio
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine import devices
from webui.engine.api import Pipeline
from webui.engine.devices import place
from webui.engine.models import Models
from webui.engine.spawn import EngineOptions
from webui.schema.errors import BadRequest
from webui.schema.requests import Txt2Img
from webui.schema.storage import UnetStorage

LAYER = "input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    write_lora(folder / "Lora" / "a.safetensors", folder / "Stable-diffusion" / "tiny.safetensors", 1)
    return folder


def drawn(pipe: Pipeline, tags: str = "") -> np.ndarray:
    return np.asarray(pipe.generate(Txt2Img(**{**PLAIN, "prompt": f"a red ball{tags}"})).images[0].image)


def test_a_unet_in_8_bits_draws_its_own_picture_with_networks_and_afterwards(folder: Path) -> None:
    plain = Pipeline.load("tiny", models_dir=folder, device="cpu")
    eight = Pipeline.load("tiny", models_dir=folder, device="cpu", unet_storage="float8_e4m3")
    before = drawn(eight)
    unet = eight._engine.models.present.unet
    assert unet.get_parameter(LAYER).dtype == torch.float8_e4m3fn
    assert not np.array_equal(before, drawn(plain))
    with_lora = drawn(eight, " <lora:a:1>")
    assert not close(with_lora, before)
    assert np.array_equal(drawn(eight), before)
    assert np.array_equal(drawn(eight, " <lora:a:1>"), with_lora)


def test_control_networks_see_the_numbers_that_the_unet_draws_with(folder: Path) -> None:
    eight = Pipeline.load("tiny", models_dir=folder, device="cpu", unet_storage="float8_e5m2")
    drawn(eight)
    executor = eight._engine.models.present
    assert executor.base.dtype == torch.float32
    assert torch.equal(executor.base.weights[LAYER].float(), executor.unet.get_parameter(LAYER).float())


def test_the_leak_guard_copes_with_8_bits(folder: Path, tmp_path: Path) -> None:
    studio = Studio(Models(Catalogue(folder), place("cpu", unet_storage="float8_e4m3")), tmp_path)
    plain = studio.draw(prompt="a red ball")
    studio.add("looker", "def after_step(s):\n    pass", "after_step")
    studio.draw(prompt="a red ball <lora:a:1>")
    assert studio.draw(prompt="a red ball") == plain
    assert (studio.notes, studio.restarts) == ([], [])
    studio.add("changer", CHANGER.format(layer=LAYER), "after_step")
    studio.run_any(prompt="a red ball")
    assert any(LAYER in note for note in studio.notes), studio.notes
    studio.off("changer")
    assert studio.draw(prompt="a red ball") == plain


CHANGER = """
import gc
import torch
from webui.nn.unet import UNet

def after_step(s):
    for unet in [one for one in gc.get_objects() if isinstance(one, UNet)]:
        weight = unet.get_parameter("{layer}")
        weight.data = weight.data.clone()
"""


@pytest.mark.parametrize(
    ("device", "wish", "expected"),
    [("cpu", "auto", "dtype"), ("cuda", "auto", "file"), ("mps", "auto", "dtype"), ("cpu", "file", "file"),
     ("cuda", "dtype", "dtype"), ("cuda", "float8-sdxl", "float8-sdxl")],
)  # fmt: skip
def test_auto_keeps_files_in_8_bits_on_a_gpu_alone(
    device: str, wish: UnetStorage, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_device", torch.device)
    assert place(device, unet_storage=wish).unet_storage == expected


def test_what_cannot_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match="float4"):
        place("cpu", unet_storage="float4")  # type: ignore[arg-type]
    monkeypatch.setattr(devices, "_device", torch.device)
    with pytest.raises(BadRequest, match="Apple"):
        place("mps", unet_storage="float8_e4m3")


def test_the_engines_process_is_told() -> None:
    command = EngineOptions(Path("models"), unet_storage="float8_e5m2").command
    assert command[command.index("--unet-storage") + 1] == "float8_e5m2"
