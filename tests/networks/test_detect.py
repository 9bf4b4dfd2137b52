"""What a network file is, by its header alone."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.networks.files import header_only, kohya
from webui.checkpoints.header import Header, TensorInfo, read_header
from webui.networks.changes import Change
from webui.networks.detect import NetworkInfo, detect_network
from webui.networks.family import OTHER, check_family
from webui.networks.keys import SPELLINGS
from webui.networks.kinds import KINDS, Kind
from webui.networks.load import PlacedChange
from webui.networks.names import Place
from webui.networks.steps import Step, work_out
from webui.schema.errors import ModelError

SD1_LAYER = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
LAYERS = [SD1_LAYER, "unet.mid_block.resnets.0.conv1", "lora_te2_text_projection", "text_encoder.x", ""]
ENDINGS = [ending for endings in SPELLINGS.values() for ending in endings] + [".bias", ".lora_E"]
SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), max_size=4).map(tuple)


def detect(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, Any] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> NetworkInfo:
    return detect_network(read_header(header_only(folder / "x.safetensors", shapes, metadata)), beside)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("LoRA", {"lora_up.weight": (8, 4), "lora_down.weight": (4, 6), "alpha": ()}),
        ("LoCon", {"lora_up.weight": (8, 4, 1, 1), "lora_down.weight": (4, 6, 3, 3), "alpha": ()}),
        ("LoCon", {"lora_up.weight": (8, 4, 1, 1), "lora_down.weight": (4, 6, 1, 1), "lora_mid.weight": (4, 4, 3, 3)}),
        ("DoRA", {"lora_up.weight": (8, 4), "lora_down.weight": (4, 6), "dora_scale": (8, 1)}),
        ("DoRA", {"lora_A.weight": (4, 6), "lora_B.weight": (8, 4), "lora_magnitude_vector": (8,)}),
        ("LoHa", {"hada_w1_a": (8, 4), "hada_w1_b": (4, 6), "hada_w2_a": (8, 4), "hada_w2_b": (4, 6)}),
        ("LoKr", {"lokr_w1": (2, 2), "lokr_w2_a": (4, 2), "lokr_w2_b": (2, 3), "alpha": ()}),
        ("LoKr (DoRA)", {"lokr_w1": (2, 2), "lokr_w2": (4, 3), "dora_scale": (1, 6)}),
        ("GLoRA", {"a1.weight": (6, 2), "a2.weight": (2, 6), "b1.weight": (8, 2), "b2.weight": (2, 6)}),
        ("OFT", {"oft_blocks": (2, 4, 4), "alpha": ()}),
        ("OFT", {"oft_R.weight": (2, 6)}),
        ("BOFT", {"oft_blocks": (2, 2, 4, 4), "rescale": (8, 1)}),
        ("BOFT", {"boft_R": (1, 2, 3, 3), "boft_s": (8, 1)}),
        ("IA3", {"weight": (8,), "on_input": ()}),
        ("IA3", {"ia3_l": (8, 1)}),
        ("full difference", {"diff": (8, 6), "diff_b": (8,)}),
        ("norm", {"w_norm": (8,), "b_norm": (8,)}),
    ],
)
def test_the_kind_is_told_by_the_parts(tmp_path: Path, kind: str, parts: dict[str, tuple[int, ...]]) -> None:
    info = detect(tmp_path, {f"{SD1_LAYER}.{part}": shape for part, shape in parts.items()})
    assert info.kinds == (kind,)
    assert info.keys == len(parts)
    assert info.unread == ()


def test_several_kinds_are_told_by_their_number(tmp_path: Path) -> None:
    shapes = kohya(["lora_unet_a", "lora_unet_b"], 8, 6) | {"lora_unet_c.diff": (8, 6)}
    info = detect(tmp_path, shapes)
    assert info.kinds == ("LoRA", "full difference")


def test_keys_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    shapes = kohya([SD1_LAYER], 8, 768) | {"lora_unet_a.lora_up.weight": (8, 4), "what.ever": (1,)}
    info = detect(tmp_path, shapes)
    assert info.keys == 5
    assert set(info.unread) == {"lora_unet_a.lora_up.weight", "what.ever"}


@pytest.mark.parametrize(
    ("style", "key"),
    [
        ("kohya", f"{SD1_LAYER}.lora_{{}}.weight"),
        ("kohya (ldm)", "lora_unet_input_blocks_4_1_proj_in.lora_{}.weight"),
        ("diffusers", "unet.down_blocks.0.attentions.0.proj_in.lora.{}.weight"),
        ("diffusers", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.{}.weight"),
        ("diffusers", "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.{}.weight"),
        ("ldm", "diffusion_model.input_blocks.4.1.proj_in.lora_{}.weight"),
    ],
)
def test_the_spelling_is_told_by_the_names(tmp_path: Path, style: str, key: str) -> None:
    info = detect(tmp_path, {key.format("up"): (8, 4), key.format("down"): (4, 6)})
    assert (info.kind, info.style) == ("LoRA", style)


def test_pefts_states_are_read_with_and_without_the_adapters_name(tmp_path: Path) -> None:
    base = "base_model.model.down_blocks.0.attentions.0.proj_in"
    plain = detect(tmp_path, {f"{base}.lora_A.weight": (4, 6), f"{base}.lora_B.weight": (8, 4)})
    named = detect(tmp_path, {f"{base}.lora_A.default.weight": (4, 6), f"{base}.lora_B.default.weight": (8, 4)})
    assert plain.style == named.style == "peft"
    assert plain.kinds == named.kinds == ("LoRA",)


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2"), (2048, "sdxl"), (48, "")])
def test_the_family_is_told_by_the_width_of_the_text(tmp_path: Path, width: int, family: str) -> None:
    assert detect(tmp_path, kohya([SD1_LAYER], 640, width)).family == family


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"hada_w1_a": (640, 4), "hada_w1_b": (4, 768), "hada_w2_a": (640, 4), "hada_w2_b": (4, 768)}, "sd1"),
        ({"lokr_w1": (8, 8), "lokr_w2": (80, 256)}, "sdxl"),
        ({"diff": (640, 1024)}, "sd2"),
    ],
)
def test_every_kind_tells_the_width(tmp_path: Path, shapes: dict[str, tuple[int, ...]], family: str) -> None:
    assert detect(tmp_path, {f"{SD1_LAYER}.{part}": shape for part, shape in shapes.items()}).family == family


@pytest.mark.parametrize(
    ("layers", "width", "family"),
    [
        (["lora_te2_text_model_encoder_layers_0_mlp_fc1"], 1280, "sdxl"),
        (["lora_unet_input_blocks_8_1_transformer_blocks_9_attn1_to_q"], 1280, "sdxl"),
        (["lora_te_text_model_encoder_layers_0_mlp_fc1"], 768, "sd1"),
        (["lora_te_text_model_encoder_layers_0_self_attn_q_proj"], 1024, "sd2"),
        (["lora_unet_mid_block_attentions_0_proj_in"], 1280, ""),
    ],
)
def test_the_family_is_told_by_the_layers(tmp_path: Path, layers: list[str], width: int, family: str) -> None:
    assert detect(tmp_path, kohya(layers, 1280, width)).family == family


@pytest.mark.parametrize(
    ("metadata", "beside", "family"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, {}, "sdxl"),
        ({"ss_base_model_version": "sd_v2_v"}, {}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, {}, "sd1"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, {}, "sdxl"),
        ({}, {"sd version": "SD1"}, "sd1"),
        ({}, {"sd version": "Unknown"}, ""),
        ({"atelier.config": {"family": "mine"}}, {"sd version": "SD1"}, "mine"),
    ],
)
def test_the_family_may_be_said(tmp_path: Path, metadata: dict[str, Any], beside: dict[str, Any], family: str) -> None:
    shapes = {"lora_unet_mid_block_attentions_0_proj_in.oft_blocks": (4, 4, 4)}
    assert detect(tmp_path, shapes, metadata, beside).family == family


@pytest.mark.parametrize(
    ("layer", "family"),
    [
        ("lora_unet_double_blocks_0_img_attn_proj", "Flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q", "Flux"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_k", "Stable Diffusion 3"),
        ("diffusion_model.layers.0.attention.qkv", OTHER),
    ],
)
def test_networks_for_other_kinds_of_models_are_named(tmp_path: Path, layer: str, family: str) -> None:
    info = detect(tmp_path, kohya([layer], 8, 6))
    assert info.family == family
    with pytest.raises(ModelError, match="Take it out of the prompt") as raised:
        check_family("flat", info.kind, info.family, "sd1")
    assert f'"flat" is a LoRA for {family}, the loaded model is SD 1.x.' in str(raised.value)


def test_a_network_of_another_family_is_refused_with_both_names() -> None:
    with pytest.raises(ModelError) as raised:
        check_family("flat", "LoHa", "sdxl", "sd1")
    assert raised.value.message == '"flat" is a LoHa for SDXL, the loaded model is SD 1.x.'
    assert raised.value.cure == "Choose a checkpoint of SDXL, or take it out of the prompt."
    check_family("flat", "LoHa", "sdxl", "sdxl")
    check_family("flat", "LoHa", "", "sd1")


@pytest.mark.parametrize(
    ("names", "said", "cure"),
    [
        (["control_model.input_blocks.0.0.weight", "control_model.zero_convs.0.0.weight"], "a ControlNet",
         "models/ControlNet"),
        (["ip_adapter.1.to_q_lora.down.weight", "ip_adapter.1.to_q_lora.up.weight"], "an IP-Adapter",
         "models/ControlNet"),
        (["down_blocks.0.motion_modules.0.to_q.lora_A.weight", "down_blocks.0.motion_modules.0.to_q.lora_B.weight"],
         "a model for video", "Take it away"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "a U-Net", "models/Stable-diffusion"),
        (["string_to_param", "emb_params"], "a textual inversion embedding", "models/embeddings"),
        (["lora_unet_x.lora_down.weight"], "looks like a LoRA, but not like one that is known here", "download"),
        (["foo"], "no network that is known here. It holds foo", "models/Lora"),
    ],
)  # fmt: skip
def test_other_files_are_refused_with_what_they_look_like(
    tmp_path: Path, names: list[str], said: str, cure: str
) -> None:
    with pytest.raises(ModelError) as raised:
        detect(tmp_path, dict.fromkeys(names, (1,)))
    assert said in raised.value.message
    assert cure in raised.value.cure


def test_trigger_words_weight_and_notes_come_from_the_file_beside_it(tmp_path: Path) -> None:
    beside = {"activation text": "knight, red cape ", "preferred weight": 0.7, "notes": "by hand", "sd version": "SD1"}
    info = detect(tmp_path, kohya([SD1_LAYER], 8, 768), {"ss_output_name": "knight_v2"}, beside)
    assert info.triggers == ("knight", "red cape")
    assert (info.weight, info.notes, info.alias) == (0.7, "by hand", "knight_v2")


def test_without_it_the_most_frequent_tags_of_training_are_the_trigger_words(tmp_path: Path) -> None:
    tags = {"10_knight": {"knight": 20, "castle": 3}, "5_more": {"castle ": 2, "sky": 4}}
    info = detect(tmp_path, kohya([SD1_LAYER], 8, 768), {"ss_tag_frequency": tags})
    assert info.triggers == ("knight", "castle", "sky")
    assert info.weight is None


@pytest.mark.parametrize("said", ["no json", "[1]", '{"a": 1}', '{"a": {"b": "c"}}'])
def test_damaged_metadata_does_no_harm(tmp_path: Path, said: str) -> None:
    metadata = {"ss_tag_frequency": said, "lora_adapter_metadata": said, "atelier.config": said}
    assert detect(tmp_path, kohya([SD1_LAYER], 8, 768), metadata).family == "sd1"


@given(st.dictionaries(st.tuples(st.sampled_from(LAYERS), st.sampled_from(ENDINGS)), SHAPES, max_size=12))
def test_no_mixture_of_tensors_raises_anything_but_a_model_error(
    tensors: dict[tuple[str, str], tuple[int, ...]],
) -> None:
    header = Header({layer + ending: TensorInfo("F16", shape) for (layer, ending), shape in tensors.items()})
    with contextlib.suppress(ModelError):
        info = detect_network(header)
        assert info.keys == len(tensors)
        assert set(info.unread) < header.tensors.keys()


def parts_of(kind: Kind) -> st.SearchStrategy[dict[str, tuple[int, ...]]]:
    """Shapes of all that a kind may have, in one of its forms."""
    forms = st.tuples(*(st.sampled_from(need) for need in kind.needs), st.lists(st.sampled_from(kind.may or ("x",))))
    return forms.flatmap(lambda form: st.fixed_dictionaries({part: SHAPES for parts in form for part in parts}))


@given(
    st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind.id), parts_of(kind))),
    st.sampled_from([(8, 6), (8, 6, 3, 3), (8,)]),
)
def test_no_mixture_of_shapes_raises_anything_unforeseen(
    kind: tuple[str, dict[str, tuple[int, ...]]], weight: tuple[int, ...]
) -> None:
    parts = {part: torch.ones(shape) for part, shape in kind[1].items()}
    placed = PlacedChange("x", Place("unet", ("y",)), Change(kind[0], parts))
    now = {"y.weight": torch.ones(weight), "y.bias": torch.ones(weight[0])}
    with contextlib.suppress(ModelError):
        work_out(Step(0, placed, 1.0), now)
    assert now["y.weight"].shape == weight
    assert now["y.bias"].shape == weight[:1]
