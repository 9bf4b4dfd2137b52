"""Names of layers against diffusers: its U-Net's own, and its conversion of kohya's files."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)

from tests.nn.small import UNETS
from tests.parity.test_nn_unet import diffusers_name, their_config
from webui.networks.keys import split_key
from webui.networks.names import LayerNames
from webui.nn.config import SD15, SDXL, ModelConfig
from webui.nn.unet import UNet

FAMILIES = pytest.mark.parametrize("family", UNETS)


def names_of(family: str) -> LayerNames:
    return LayerNames.of(ModelConfig(family, UNETS[family]))


def layers(module: torch.nn.Module) -> list[str]:
    return sorted({name.rpartition(".")[0] for name, _ in module.named_parameters()})


@FAMILIES
def test_every_layer_of_diffusers_unet_is_found_where_its_weights_go(family: str) -> None:
    with torch.device("meta"):
        ours, theirs = UNet(UNETS[family]), UNet2DConditionModel(**their_config(UNETS[family]))
    expected = {diffusers_name(f"{name}.weight", UNETS[family]).removesuffix(".weight"): name for name in layers(ours)}
    for layer in layers(theirs):
        for name in (f"unet.{layer}", f"lora_unet_{layer.replace('.', '_')}", f"base_model.model.{layer}"):
            found = names_of(family).find(name)
            assert found is not None
            assert found.modules == (expected[layer],)


@pytest.mark.parametrize(("family", "config"), [("sd1", SD15), ("sdxl", SDXL)])
def test_diffusers_converts_kohyas_names_to_those_that_mean_the_same_layer(family: str, config: ModelConfig) -> None:
    names, unet = LayerNames.of(config), config.unet
    with torch.device("meta"):
        ours = UNet(unet)
    wanted = [name for name in layers(ours) if name.endswith(("to_q", "to_out.0", "proj_in", "ff.net.2"))]
    kohya = {f"lora_unet_{_kohya(name, config)}": name for name in wanted}
    kohya |= {f"lora_te{'1' if family == 'sdxl' else ''}_text_model_encoder_layers_{i}_mlp_fc1": "" for i in range(3)}
    state = {f"{name}.{part}.weight": torch.zeros(1) for name in kohya for part in ("lora_down", "lora_up")}
    if family == "sdxl":
        settings = type("", (), {"layers_per_block": 2})
        state = _maybe_map_sgm_blocks_to_diffusers(dict(state), settings)
    converted, _alphas = _convert_non_diffusers_lora_to_diffusers(dict(state))
    assert len(converted) == 2 * len(kohya)
    theirs = [split_key(key) for key in converted]
    found = [names.find(split[0]) for split in theirs if split is not None]
    assert {split[1] for split in theirs if split is not None} == {"up", "down"}
    assert None not in found
    assert set(found) == {names.find(name) for name in kohya}


def _kohya(name: str, config: ModelConfig) -> str:
    """kohya's trainer names the layers of SD 1.x as diffusers does, those of SDXL as ldm does."""
    named = name if config.unet.adm_channels else diffusers_name(f"{name}.weight", config.unet).removesuffix(".weight")
    return named.replace(".", "_")
