"""What tensors a checkpoint has is told without torch, and agrees with the lists of published files and our modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.published import PUBLISHED, ldm_shapes
from tests.support import tiny_config, tiny_tensors, tiny_upscaler
from webui.checkpoints.detect import detect_config
from webui.checkpoints.expected import expected_names, unknown_names
from webui.checkpoints.header import Header, TensorInfo
from webui.nn.config import ModelConfig


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_have_what_is_expected_of_them_and_nothing_unknown(name: str) -> None:
    header = Header({tensor: TensorInfo("F16", shape) for tensor, shape in ldm_shapes(name).items()})
    expected = expected_names(header, detect_config(header))
    assert sorted(expected - header.tensors.keys()) == []
    assert unknown_names(header.tensors, expected) == []
    assert len(expected) > 500


@pytest.mark.parametrize(
    "config", [tiny_config(), tiny_config("sd2"), tiny_config("sdxl"), tiny_upscaler()], ids=lambda one: one.family
)
def test_small_models_have_just_what_is_expected(config: ModelConfig) -> None:
    tensors = tiny_tensors(config, config.family.removesuffix("_x4"), 0)
    header = Header({name: TensorInfo("F32", tuple(tensor.shape)) for name, tensor in tensors.items()})
    assert sorted(expected_names(header, config) ^ header.tensors.keys()) == []


def test_it_needs_no_torch() -> None:
    code = "import sys; import webui.checkpoints.expected; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
