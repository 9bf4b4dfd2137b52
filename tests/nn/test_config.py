import json
from dataclasses import replace

import pytest
import torch

from tests.nn import small
from webui.nn.config import (
    EXTRA_CHANNELS,
    SD15,
    SD21,
    SD21_BASE,
    SDXL,
    SDXL_REFINER,
    X4_UPSCALER,
    ModelConfig,
    TextConfig,
    UNetConfig,
    VAEConfig,
    with_extra,
)
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE

TINY = ModelConfig(
    family="tiny",
    unet=replace(small.SD1_UNET, num_res_blocks=(1, 2, 1, 1)),
    vae=VAEConfig(channels=16, norm_groups=4, shift=0.1, attention=False),
    texts=(small.TEXTS["sd1"],),
    prediction="sample",
    native_size=128,
)
ALL = (SD15, SD21, SD21_BASE, SDXL, SDXL_REFINER, X4_UPSCALER, TINY)
MODELS = pytest.mark.parametrize("model", ALL, ids=lambda model: model.family)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@MODELS
def test_a_config_comes_back_from_json_as_it_was(model: ModelConfig) -> None:
    text = json.dumps(model.to_json())
    again = ModelConfig.from_json(json.loads(text))
    assert again == model
    assert hash(again) == hash(model)
    assert json.dumps(again.to_json()) == text


def test_missing_keys_take_their_defaults() -> None:
    assert ModelConfig.from_json({}) == SD15
    assert ModelConfig.from_json({"unet": {"in_channels": 9}}).unet == UNetConfig(in_channels=9)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"familly": "sd1"}, "familly"),
        ({"unet": {"channels_mult": [1, 2]}}, "unet.channels_mult"),
        ({"texts": [{}, {"widht": 3}]}, r"texts\[1\].widht"),
        ({"schedule": {"beta": 1}}, "schedule.beta"),
    ],
)
def test_an_unknown_key_is_refused_by_name(values: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown config key {name};"):
        ModelConfig.from_json(values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"native_size": "512"}, "native_size is '512', expected int"),
        ({"unet": {"model_channels": True}}, "unet.model_channels is True"),
        ({"unet": {"channel_mult": [1, "2"]}}, r"unet.channel_mult\[1\] is '2'"),
        ({"unet": {"head_dim": 1.5}}, "unet.head_dim is 1.5"),
        ({"prediction": "noise"}, "prediction is 'noise', expected 'epsilon' or 'v' or 'sample'"),
        ({"vae": 3}, "vae is 3, expected an object"),
        ({"texts": {}}, "texts is {}"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(values: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ModelConfig.from_json(values)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"channel_mult": (1, 2)}, "transformer_depth has 4 levels, channel_mult has 2"),
        ({"num_res_blocks": (2, 2)}, "num_res_blocks has 2 levels"),
        ({"head_dim": 64}, "exactly one of num_heads and head_dim"),
        ({"num_heads": None}, "exactly one of num_heads and head_dim"),
        ({"norm_groups": 7}, r"320 channels cannot be divided by norm_groups \(7\)"),
        ({"num_heads": 9}, r"320 channels cannot be divided by the heads \(9\)"),
        ({"cross_only": (True,)}, "cross_only has 1 levels, not 4"),
        ({"num_classes": 1000, "adm_channels": 2816}, "only one of num_classes and adm_channels"),
    ],
)
def test_an_impossible_unet_is_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        UNetConfig(**arguments)


@pytest.mark.parametrize("text", [SD15.texts[0], SDXL.texts[1]], ids=["last", "pooled"])
def test_no_layer_is_absent_that_is_read(text: TextConfig) -> None:
    assert replace(SD21.texts[0], absent=1).layers == 24
    with pytest.raises(ValueError, match="absent"):
        replace(text, absent=1)


def test_special_tokens_lie_in_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="vocabulary of 100"):
        TextConfig(vocab_size=100)


@pytest.mark.parametrize(
    ("model", "unet", "texts"),
    [
        (SD15, 859_520_964, [123_060_480]),
        (SD21, 865_910_724, [352_984_064]),
        (SDXL, 2_567_463_684, [123_060_480, 694_659_840]),
    ],
    ids=["sd1", "sd2", "sdxl"],
)
def test_the_families_have_the_published_numbers_of_parameters(model: ModelConfig, unet: int, texts: list[int]) -> None:
    with torch.device("meta"):
        assert parameters(UNet(model.unet)) == unet
        assert parameters(VAE(model.vae)) == 83_653_863
        assert [parameters(build_text(text)) for text in model.texts] == texts


@pytest.mark.parametrize("extra", ["inpaint", "edit", "depth"])
def test_a_sibling_that_reads_more_has_as_many_channels_more(extra: str) -> None:
    config = with_extra(SD15, extra)
    assert config.unet.in_channels == 4 + EXTRA_CHANNELS[extra]
    assert with_extra(config, "none") == SD15
    assert ModelConfig.from_json(config.to_json()) == config
