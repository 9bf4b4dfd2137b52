"""Changed weights against peft's own merging, on random layers with no number at zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import BOFTConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig
from torch import Tensor

from tests.networks.peft_layers import adapted, assert_all_matter, change_of
from tests.nn.weights import relative_error

pytestmark = pytest.mark.filterwarnings("ignore")  # peft's, about extensions for CUDA that are not there

TOLERANCE = 1e-5
BOTH = ["linear", "conv"]
LAYERS = pytest.mark.parametrize("layer", BOTH)

CONFIGS: dict[str, Any] = {
    "lora": LoraConfig(r=4, lora_alpha=6, target_modules=BOTH),
    "lora, alpha by root of rank": LoraConfig(r=4, lora_alpha=6, target_modules=BOTH, use_rslora=True),
    "lora, ranks by layer": LoraConfig(
        r=4, lora_alpha=6, target_modules=BOTH, rank_pattern={"conv": 3}, alpha_pattern={"linear": 5}
    ),
    "dora": LoraConfig(r=4, lora_alpha=6, target_modules=BOTH, use_dora=True),
    "loha": LoHaConfig(r=4, alpha=6, target_modules=BOTH),
    "loha with cores": LoHaConfig(r=4, alpha=6, target_modules=BOTH, use_effective_conv2d=True),
    "lokr": LoKrConfig(r=2, alpha=3, target_modules=BOTH, decompose_both=True, decompose_factor=4),
    "lokr, whole first": LoKrConfig(r=2, alpha=3, target_modules=BOTH, decompose_factor=2),
    "lokr with cores": LoKrConfig(r=2, alpha=3, target_modules=BOTH, use_effective_conv2d=True, decompose_factor=2),
    "lokr, both whole": LoKrConfig(r=64, alpha=3, target_modules=BOTH),
    "ia3 on outputs": IA3Config(target_modules=BOTH, feedforward_modules=[]),
    "ia3 on inputs": IA3Config(target_modules=BOTH, feedforward_modules=BOTH),
    "oft": OFTConfig(oft_block_size=4, target_modules=BOTH, use_cayley_neumann=False),
    "oft by a series": OFTConfig(oft_block_size=4, target_modules=BOTH, use_cayley_neumann=True),
    "oft by three terms": OFTConfig(oft_block_size=4, target_modules=BOTH, num_cayley_neumann_terms=3),
    "oft by two terms": OFTConfig(oft_block_size=4, target_modules=BOTH, num_cayley_neumann_terms=2),
    "oft, one for all blocks": OFTConfig(oft_block_size=4, target_modules=BOTH, block_share=True),
    "oft, constrained": OFTConfig(oft_block_size=4, target_modules=BOTH, coft=True, eps=0.05),
    "boft": BOFTConfig(boft_block_size=4, target_modules=BOTH),
}


def changed(layer: torch.nn.Module, differences: tuple[Tensor | None, Tensor | None]) -> tuple[Tensor, Tensor]:
    weight, bias = differences
    assert weight is not None
    return layer.weight + weight, layer.bias if bias is None else layer.bias + bias


@LAYERS
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_changed_layer_agrees_with_peft(name: str, layer: str) -> None:
    config = CONFIGS[name]
    before, after, state = adapted(config, layer)
    assert_all_matter(state)
    weight, bias = changed(before, change_of(state, layer, config).differences(before.weight, before.bias))
    assert relative_error(weight, after.weight) < TOLERANCE
    assert relative_error(bias, after.bias) < TOLERANCE
    assert relative_error(weight, before.weight) > 1e-3


@torch.no_grad()
def test_a_lora_with_a_bias_agrees_with_peft() -> None:
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["linear"], lora_bias=True)
    before, after, state = adapted(config, "linear")
    weight, bias = changed(before, change_of(state, "linear", config).differences(before.weight, before.bias))
    assert relative_error(weight, after.weight) < TOLERANCE
    assert relative_error(bias, after.bias) < TOLERANCE
    assert relative_error(bias, before.bias) > 1e-3


@torch.no_grad()
def test_without_settings_alpha_counts_as_the_rank() -> None:
    before, after, state = adapted(LoraConfig(r=4, lora_alpha=4, target_modules=BOTH), "linear")
    weight, _bias = changed(before, change_of(state, "linear").differences(before.weight, before.bias))
    assert relative_error(weight, after.weight) < TOLERANCE
