"""The layers of every family by the names that network files have for them."""

import pytest
import torch

from tests.nn.small import TEXTS
from tests.support import tiny_config
from webui.networks.names import LayerNames, Place, part_of, text_names, unet_names
from webui.nn.config import SD15, SD21, SDXL, ModelConfig
from webui.nn.text import build_text
from webui.nn.unet import UNet

CONFIGS = {"sd1": SD15, "sd2": SD21, "sdxl": SDXL, "tiny sd1": tiny_config("sd1"), "tiny sdxl": tiny_config("sdxl")}
FAMILIES = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))


def layers(module: torch.nn.Module) -> set[str]:
    return {name.rpartition(".")[0] for name, _ in module.named_parameters()}


@FAMILIES
def test_every_layer_of_the_unet_has_a_name(config: ModelConfig) -> None:
    with torch.device("meta"):
        unet = UNet(config.unet)
    named = {modules[0] for _name, modules in unet_names(config.unet)}
    assert layers(unet) <= named
    assert all(name.endswith("skip_connection") for name in named - layers(unet))  # not every block has one


@pytest.mark.parametrize("name", TEXTS)
def test_every_layer_of_a_text_encoder_has_a_name(name: str) -> None:
    config = TEXTS[name]
    named = {module for _name, modules in text_names(config) for module in modules}
    assert layers(build_text(config)) | {"text_projection"} == named


@pytest.mark.parametrize(
    ("family", "unet", "texts"), [("sd1", 192, [72]), ("sd2", 192, [138]), ("sdxl", 722, [72, 192])]
)
def test_kohyas_trainer_finds_as_many_layers(family: str, unet: int, texts: list[int]) -> None:
    """The numbers that it prints for the published models: linear layers and 1 x 1 convolutions of transformers.

    SD 2.x's text encoder has 23 layers in diffusers' form, which it trains on, and 24 here.
    """
    config, names = CONFIGS[family], LayerNames.of(CONFIGS[family])
    inside = [f"transformer_blocks.{i}." for i in range(10)]
    count = sum(
        any(part in modules[0] for part in (*inside, "proj_in", "proj_out")) and ".norm" not in modules[0]
        for modules in dict.fromkeys(dict(unet_names(config.unet)).values())
    )
    assert count == unet
    for index, (text, expected) in enumerate(zip(config.texts, texts, strict=True)):
        prefix = f"lora_te{index + 1 if family == 'sdxl' else ''}_text_model_encoder_layers"
        layers = [f"self_attn_{one}_proj" for one in ("q", "k", "v", "out")] + ["mlp_fc1", "mlp_fc2"]
        found = [names.find(f"{prefix}_{i}_{layer}") for i in range(text.layers) for layer in layers]
        assert None not in found
        assert len(set(found)) - (6 if family == "sd2" else 0) == expected


def test_no_two_layers_share_a_name() -> None:
    for config in CONFIGS.values():
        for names in (unet_names(config.unet), *(text_names(text) for text in config.texts)):
            found: dict[str, tuple[str, ...]] = {}
            for name, modules in names:
                assert found.setdefault(name.replace(".", "_"), modules) == modules


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k",
         "input_blocks.4.1.transformer_blocks.0.attn2.to_k"),
        ("lora_unet_down_blocks_0_resnets_1_conv1", "input_blocks.2.0.in_layers.2"),
        ("lora_unet_down_blocks_0_downsamplers_0_conv", "input_blocks.3.0.op"),
        ("lora_unet_mid_block_attentions_0_proj_in", "middle_block.1.proj_in"),
        ("lora_unet_up_blocks_0_upsamplers_0_conv", "output_blocks.2.1.conv"),
        ("lora_unet_up_blocks_1_upsamplers_0_conv", "output_blocks.5.2.conv"),
        ("lora_unet_up_blocks_3_resnets_2_conv_shortcut", "output_blocks.11.0.skip_connection"),
        ("lora_unet_time_embedding_linear_1", "time_embed.0"),
        ("unet.up_blocks.1.attentions.2.transformer_blocks.0.attn1.to_out.0",
         "output_blocks.5.1.transformer_blocks.0.attn1.to_out.0"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out",
         "middle_block.1.transformer_blocks.0.attn1.to_out.0"),
        ("base_model.model.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
         "middle_block.1.transformer_blocks.0.ff.net.0.proj"),
        ("diffusion_model.output_blocks.11.1.transformer_blocks.0.norm3",
         "output_blocks.11.1.transformer_blocks.0.norm3"),
        ("conv_in", "input_blocks.0.0"),
        ("lycoris_conv_norm_out", "out.0"),
    ],
)  # fmt: skip
def test_a_layer_of_sd1s_unet_is_found(name: str, module: str) -> None:
    assert LayerNames.of(SD15).find(name) == Place("unet", (module,))


@pytest.mark.parametrize(
    ("name", "part", "module"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", "unet",
         "input_blocks.4.1.transformer_blocks.1.attn1.to_q"),
        ("lora_unet_down_blocks_2_attentions_1_transformer_blocks_9_attn1_to_q", "unet",
         "input_blocks.8.1.transformer_blocks.9.attn1.to_q"),
        ("lora_unet_output_blocks_2_2_conv", "unet", "output_blocks.2.2.conv"),
        ("unet.add_embedding.linear_2", "unet", "label_emb.0.2"),
        ("lora_te1_text_model_encoder_layers_11_mlp_fc1", "text0", "text_model.encoder.layers.11.mlp.fc1"),
        ("lora_te2_text_model_encoder_layers_31_self_attn_v_proj", "text1",
         "text_model.encoder.layers.31.self_attn.v_proj"),
        ("lora_te2_text_projection", "text1", "text_projection"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q", "text0",
         "text_model.encoder.layers.0.self_attn.q_proj"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj", "text1",
         "text_model.encoder.layers.0.self_attn.out_proj"),
        ("clip_g.transformer.text_model.encoder.layers.3.mlp.fc2", "text1", "text_model.encoder.layers.3.mlp.fc2"),
        ("conditioner.embedders.1.model.transformer.resblocks.3.mlp.c_proj", "text1",
         "text_model.encoder.layers.3.mlp.fc2"),
    ],
)  # fmt: skip
def test_a_layer_of_sdxl_is_found(name: str, part: str, module: str) -> None:
    assert LayerNames.of(SDXL).find(name) == Place(part, (module,))


def test_openclips_query_key_and_value_are_three_layers_here() -> None:
    found = LayerNames.of(SDXL).find("lora_te2_transformer_resblocks_5_attn_in_proj")
    layer = "text_model.encoder.layers.5.self_attn"
    assert found == Place("text1", (f"{layer}.q_proj", f"{layer}.k_proj", f"{layer}.v_proj"))


@pytest.mark.parametrize("name", ["lora_unet_double_blocks_0", "lora_te2_text_projection", "", "unet.", "first_stage"])
def test_what_sd1_does_not_have_is_not_found(name: str) -> None:
    assert LayerNames.of(SD15).find(name) is None


def test_prefixes_name_the_part() -> None:
    assert part_of("lora_te2_x") == "text1"
    assert part_of("text_encoder.x") == "text0"
    assert part_of("unet.x") == part_of("lora_unet_x") == "unet"
    assert part_of("base_model.model.x") is None
