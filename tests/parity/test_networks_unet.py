"""A LoRA saved by diffusers: our U-Net with it applied against diffusers' own with its adapter."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from tests.nn.small import TEXTS, UNETS, VAE
from tests.nn.weights import relative_error
from tests.parity.test_nn_unet import both, inputs, our_answer, their_answer
from webui.checkpoints.load import LoadedModel
from webui.networks.apply import applied
from webui.networks.effects import Effect
from webui.networks.load import open_network
from webui.networks.steps import Use
from webui.nn.config import ModelConfig
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE as Autoencoder

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "conv2", "time_emb_proj", "conv_in"]


def model_of(unet: UNet, family: str) -> LoadedModel:
    texts = tuple(text for name, text in TEXTS.items() if name.startswith(family))
    config = ModelConfig(family, UNETS[family], VAE, texts)
    return LoadedModel(config, unet, Autoencoder(VAE), tuple(build_text(text) for text in texts), ())


@torch.no_grad()
def add_adapter(unet: UNet2DConditionModel, config: LoraConfig) -> None:
    generator = torch.Generator().manual_seed(5)
    unet.add_adapter(config)
    for name, parameter in unet.named_parameters():
        if "lora_" in name:
            drawn = 0.3 * torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
            parameter.copy_(parameter + drawn if "magnitude" in name else drawn)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("family", UNETS)
def test_the_unet_with_a_lora_agrees_with_diffusers(family: str, dora: bool, tmp_path: Path) -> None:
    ours, theirs = both(UNETS[family], torch.float32)
    given = inputs(UNETS[family], torch.float32)
    plain = our_answer(ours, given)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, use_dora=dora, rank_pattern={"to_q": 3})
    # the adapter changes the weights' modules, not the weights, which both U-Nets share
    add_adapter(theirs, config)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, unet_lora_layers=get_peft_model_state_dict(theirs), unet_lora_adapter_metadata=config.to_dict()
    )
    model = model_of(ours, family)
    network = open_network(tmp_path / "pytorch_lora_weights.safetensors", "x", model)
    assert network.unmatched == ()
    assert network.info.style == "diffusers"
    with applied(model, [Use(network)]) as networks:
        assert networks.effects == (Effect("x", len(network.changes), len(network.changes)),)
        answer = our_answer(ours, given)
    assert relative_error(answer, their_answer(theirs, given)) < 1e-5
    assert relative_error(answer, plain) > 0.05
    assert torch.equal(our_answer(ours, given), plain)
