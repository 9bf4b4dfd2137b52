"""Network files against a loaded model: what matches, and what does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.networks.files import header_only, kohya, lora, write
from webui.checkpoints.load import LoadedModel
from webui.networks.load import open_network
from webui.networks.names import Place
from webui.schema.errors import ModelError

Tiny = Callable[[str], LoadedModel]
OURS = "input_blocks.3.1.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
TEXT = "text_model.encoder.layers.1.mlp.fc1"


def test_layers_go_where_their_names_say(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sdxl")
    weight = model.unet.get_parameter(f"{OURS}.weight")
    tensors = lora(KOHYA, weight, 1) | lora(f"lora_te2_{TEXT.replace('.', '_')}", torch.ones(32, 16), 3)
    network = open_network(write(tmp_path / "a.safetensors", tensors), "a", model)
    assert {change.place for change in network.changes} == {Place("unet", (OURS,)), Place("text1", (TEXT,))}
    assert (network.matched, network.info.keys, network.unmatched) == (6, 6, ())
    assert network.said == "a: LoRA, 6 of 6 keys matched."


def test_keys_that_match_nothing_are_listed(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    weight = model.unet.get_parameter(f"{OURS}.weight")
    tensors = lora(KOHYA, weight, 1) | lora("lora_unet_nowhere", weight, 3) | {"stray": torch.ones(1)}
    network = open_network(write(tmp_path / "a.safetensors", tensors), "a", model)
    assert network.matched == 3
    assert set(network.unmatched) == {*lora("lora_unet_nowhere", weight, 3), "stray"}
    assert network.said.startswith("a: LoRA, 3 of 7 keys matched; not used: lora_unet_nowhere.")
    assert network.said.endswith(" and 1 more.")


def test_a_bias_for_a_layer_without_one_is_not_matched(tmp_path: Path, tiny: Tiny) -> None:
    model = tiny("sd1")
    weight = model.unet.get_parameter(f"{OURS}.weight")
    tensors = lora(KOHYA, weight, 1) | {f"{KOHYA}.diff_b": torch.ones(len(weight))}
    network = open_network(write(tmp_path / "a.safetensors", tensors), "a", model)
    assert network.unmatched == (f"{KOHYA}.diff_b",)
    with pytest.raises(ModelError, match="none of its 1 keys matched"):
        open_network(write(tmp_path / "b.safetensors", {f"{KOHYA}.diff_b": torch.ones(8)}), "b", model)


def test_a_network_without_any_layer_of_the_model_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    path = header_only(tmp_path / "a.safetensors", kohya(["lora_unet_up_blocks_3_attentions_2_proj_in"], 16, 16))
    with pytest.raises(ModelError) as raised:
        open_network(path, "a", tiny("sd1"))
    assert raised.value.message.startswith('"a" has no layer that the loaded model has: none of its 3 keys matched')


def test_a_network_of_another_family_is_refused_before_anything_is_read(tmp_path: Path, tiny: Tiny) -> None:
    path = header_only(tmp_path / "a.safetensors", kohya([KOHYA.replace("attn1_to_q", "attn2_to_k")], 640, 2048))
    with pytest.raises(ModelError, match=r'"a" is a LoRA for SDXL, the loaded model is SD 1\.x\.'):
        open_network(path, "a", tiny("sd1"))
