"""Every kind of file in the folder of another: what is said of it, and where it is to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from tests.published import folder_shapes, ldm_shapes, read_list
from webui.checkpoints.detect import detect_config
from webui.checkpoints.header import Header, TensorInfo
from webui.checkpoints.kinds import check_kind, kind_of_file, wrong_kind
from webui.checkpoints.parts import parts_of
from webui.schema.errors import ModelError


def header(shapes: Mapping[str, tuple[int, ...]] | Iterable[str]) -> Header:
    named = shapes if isinstance(shapes, Mapping) else dict.fromkeys(shapes, (1,))
    return Header({name: TensorInfo("F16", shape) for name, shape in named.items()})


def without(start: str, name: str) -> Header:
    return header({key: shape for key, shape in ldm_shapes(name).items() if not key.startswith(start)})


def part(name: str, layout: str = "ldm", prefix: str = "") -> Header:
    return header({prefix + key: shape for key, shape in read_list(name, layout).items()})


FLUX_VAE = {**read_list("vae-f8", "ldm"), "decoder.conv_in.weight": (512, 16, 3, 3)}
CASES: dict[str, tuple[Header, str, str]] = {
    # what it is, how it is called, where it belongs or what to do
    "SD 1.5": (header(ldm_shapes("sd15")), "a whole checkpoint of SD 1.x", "models/Stable-diffusion"),
    "inpainting": (header(ldm_shapes("sd2-inpaint")), "a whole checkpoint of SD 2.x", "models/Stable-diffusion"),
    "SDXL": (header(ldm_shapes("sdxl")), "a whole checkpoint of SDXL", "models/Stable-diffusion"),
    "U-Net, ldm": (
        part("unet-sd1"), "a U-Net of SD 1.x without its VAE and its text encoder CLIP-L",
        '{"atelier.parts": {"vae": "../VAE/FILE.safetensors", "texts": ["../text_encoder/FILE.safetensors"]}}',
    ),
    "U-Net, diffusers": (
        header(folder_shapes("sdxl")["unet"]),
        "a U-Net of SDXL without its VAE and its text encoders CLIP-L and OpenCLIP-bigG", "models/Stable-diffusion",
    ),
    "U-Net, ComfyUI": (part("unet-sd2", prefix="model.diffusion_model."), "a U-Net of SD 2.x without", "atelier.parts"),
    "U-Net, bare prefix": (part("unet-sd2", prefix="diffusion_model."), "a U-Net of SD 2.x without", "atelier.parts"),
    "VAE, ldm": (part("vae-f8"), "a VAE alone", "models/VAE"),
    "VAE, diffusers": (part("vae-f8", "diffusers"), "a VAE alone", "models/VAE"),
    "VAE, of a checkpoint": (part("vae-f8", prefix="first_stage_model."), "a VAE alone", "models/VAE"),
    "VAE of Flux": (header(FLUX_VAE), "a VAE whose latents have 16 channels", "Use a VAE of Stable Diffusion"),
    "CLIP-L": (part("clip-l"), "a text encoder alone (CLIP-L)", "models/text_encoder"),
    "OpenCLIP-H": (part("clip-h"), "a text encoder alone (OpenCLIP-H)", "models/text_encoder"),
    "OpenCLIP-bigG": (part("clip-bigg", "diffusers"), "a text encoder alone (OpenCLIP-bigG)", "models/text_encoder"),
    "T5": (header(["encoder.block.0.layer.0.SelfAttention.q.weight"]), "a T5 text encoder", "Stable Diffusion 1.x"),
    "CLIP vision": (header(["vision_model.embeddings.class_embedding"]), "a CLIP vision encoder", "models/clip_vision"),
    "LoRA, kohya": (header(["lora_unet_x.lora_down.weight", "lora_unet_x.alpha"]), "a LoRA", "models/Lora"),
    "LoRA, kohya's SDXL": (header(["lora_te2_x.lora_up.weight"]), "a LoRA", "models/Lora"),
    "LoRA, diffusers": (header(["unet.down_blocks.0.x.lora_A.weight"]), "a LoRA", "models/Lora"),
    "LoRA, old diffusers": (header(["unet.x.processor.to_q_lora.down.weight"]), "a LoRA", "models/Lora"),
    "LoRA, peft": (header(["base_model.model.x.lora_B.weight"]), "a LoRA", "models/Lora"),
    "LoRA, ComfyUI": (header(["diffusion_model.input_blocks.1.x.lora_up.weight"]), "a LoRA", "models/Lora"),
    "LoRA of Flux": (header(["transformer.single_transformer_blocks.0.x.lora_A.weight"]), "a LoRA", "models/Lora"),
    "DoRA": (header(["lora_unet_x.dora_scale"]), "a LoRA", "models/Lora"),
    "LoHa": (header(["lora_unet_x.hada_w1_a"]), "a LyCORIS network", "models/Lora"),
    "LoKr": (header(["lycoris_x.lokr_w1"]), "a LyCORIS network", "models/Lora"),
    "OFT": (header(["oft_unet_x.oft_blocks"]), "a LyCORIS network", "models/Lora"),
    "BOFT": (header(["x.boft_R", "x.boft_s"]), "a LyCORIS network", "models/Lora"),
    "IA3": (header(["lora_unet_x.weight", "lora_unet_x.on_input"]), "a LyCORIS network", "models/Lora"),
    "full": (header(["lora_unet_x.diff", "lora_unet_x.diff_b"]), "a network of full differences", "models/Lora"),
    "LLLite": (header(["lllite_unet_x.down.0.weight"]), "a ControlLLLite", "Use a ControlNet"),
    "ControlNet, ldm": (header(["control_model.input_hint_block.0.weight"]), "a ControlNet", "models/ControlNet"),
    "ControlNet, diffusers": (
        header(["controlnet_cond_embedding.conv_in.weight", "time_embedding.linear_1.weight"]),
        "a ControlNet", "models/ControlNet",
    ),
    "ControlNet of Flux": (header(["controlnet_blocks.0.weight"]), "a ControlNet for Flux", "Stable Diffusion 1.x"),
    "Control-LoRA": (header(["lora_controlnet", "x.up"]), "a Control-LoRA", "models/ControlNet"),
    "T2I-Adapter": (header(["body.0.block1.weight", "conv_in.weight"]), "a T2I-Adapter", "models/ControlNet"),
    "T2I-Adapter, diffusers": (header(["adapter.body.0.resnets.0.block1.weight"]), "a T2I-", "models/ControlNet"),
    "IP-Adapter": (header(["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"]), "an IP-", "models/ControlNet"),
    "IP-Adapter with LoRA": (header(["ip_adapter.0.to_q_lora.down.weight"]), "an IP-Adapter", "models/ControlNet"),
    "embedding": (header(["emb_params"]), "a textual inversion embedding", "models/embeddings"),
    "embedding of SDXL": (header(["clip_l", "clip_g"]), "a textual inversion embedding", "models/embeddings"),
    "hypernetwork": (header(["768.k.linear.0.weight"]), "a hypernetwork", "models/hypernetworks"),
    "TAESD, diffusers": (header(["decoder.layers.0.weight"]), "a tiny autoencoder", "models/VAE-approx"),
    "TAESD": (header(["1.weight", "3.conv.0.weight", "3.skip.weight"]), "a tiny autoencoder", "models/VAE-approx"),
    "ESRGAN": (header(["conv_first.weight", "body.0.rdb1.conv1.weight"]), "an upscaler", "models/ESRGAN"),
    "old ESRGAN": (header(["model.1.sub.0.RDB1.conv1.0.weight"]), "an upscaler", "models/ESRGAN"),
    "Real-ESRGAN general": (header(["body.0.weight", "body.1.weight"]), "an upscaler", "models/ESRGAN"),
    "SwinIR": (header(["layers.0.residual_group.blocks.0.norm1.weight"]), "an upscaler", "models/ESRGAN"),
    "GFPGAN": (header(["stylegan_decoder.x.weight", "conv_body_first.weight"]), "a face restorer", "models/GFPGAN"),
    "AnimateDiff": (header(["down_blocks.0.motion_modules.0.x.weight"]), "a model for video", "Take it away"),
    "Flux": (header(["double_blocks.0.img_attn.qkv.weight"]), "a model of Flux", "Stable Diffusion 1.x, 2.x or SDXL"),
    "Flux, diffusers": (header(["single_transformer_blocks.0.x"]), "a model of Flux", "Stable Diffusion 1.x"),
    "Flux, all in one": (header(["model.diffusion_model.double_blocks.0.x"]), "a model of Flux", "Stable Diff"),
    "SD3": (header(["model.diffusion_model.joint_blocks.0.x"]), "a model of Stable Diffusion 3", "SDXL"),
    "SD3, diffusers": (header(["transformer_blocks.0.norm1_context.linear.weight"]), "Stable Diffusion 3", "1.x"),
    "Qwen-Image": (header(["transformer_blocks.0.img_mlp.net.0.proj.weight"]), "a model of Qwen-Image", "SDXL"),
    "nothing": (header([]), "a file without any tensor", "Download it again"),
    "cut VAE": (header(["decoder.conv_in.weight"]), "a VAE that is not whole", "Download it again"),
}  # fmt: skip
HERE = ("SD 1.5", "inpainting", "SDXL")


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_file_is_known_with_its_place(case: str) -> None:
    given, what, cure = CASES[case]
    found = kind_of_file(given)
    assert found is not None
    assert what in found.what
    assert cure in found.cure


@pytest.mark.parametrize("case", [case for case in CASES if case not in HERE])
def test_among_checkpoints_every_other_kind_is_refused_by_its_name(case: str) -> None:
    given, what, cure = CASES[case]
    if "U-Net, ComfyUI" in case:  # a checkpoint by its names, which lacks the rest
        what = "The checkpoint lacks its VAE and its text encoder OpenCLIP-H"
    with pytest.raises(ModelError) as caught:
        check_kind(given)
    assert what in caught.value.message
    assert cure in caught.value.cure or (cure == "models/Stable-diffusion" and "atelier.parts" in caught.value.cure)
    assert "known here" not in caught.value.message


def test_whole_checkpoints_pass() -> None:
    for case in HERE:
        check_kind(CASES[case][0])


@pytest.mark.parametrize(
    ("start", "name", "missing"),
    [
        ("first_stage_model.", "sdxl", "its VAE"),
        ("cond_stage_model.", "sd15", "its text encoder CLIP-L"),
        ("cond_stage_model.", "sd21", "its text encoder OpenCLIP-H"),
        ("conditioner.embedders.0.", "sdxl", "its text encoder CLIP-L"),
        ("conditioner.embedders.1.", "sdxl", "its text encoder OpenCLIP-bigG"),
        ("conditioner.", "sdxl", "its text encoders CLIP-L and OpenCLIP-bigG"),
        ("conditioner.", "sdxl-refiner", "its text encoder OpenCLIP-bigG"),
        (("first_stage_model.", "cond_stage_model."), "x4", "its VAE and its text encoder OpenCLIP-H"),
    ],
)  # fmt: skip
def test_a_checkpoint_says_which_parts_it_lacks_and_how_to_add_them(start: str, name: str, missing: str) -> None:
    given = without(start, name)
    with pytest.raises(ModelError) as caught:
        detect_config(given)
    assert caught.value.message == f"The checkpoint lacks {missing}."
    assert ('"vae": ' in caught.value.cure) == ("VAE" in missing)
    assert caught.value.cure.count("text_encoder/FILE") == (len(parts_of(given).wanted) if "text" in missing else 0)


def test_a_file_of_the_folders_own_kind_that_cannot_be_read_is_not_sent_into_the_folder_that_it_is_in() -> None:
    error = wrong_kind(header(["x.lora_down.weight"]), "network", "models/Lora", "Another one.")
    assert error.message == (
        "This looks like a LoRA, but not like one that is known here. It holds x.lora_down.weight."
    )
    assert "Put it into" not in error.cure


def test_some_names_of_an_unknown_file_are_listed() -> None:
    with pytest.raises(ModelError, match=r"that is known here.* It holds bar, baz, foo and 2 more"):
        check_kind(header(["foo", "bar", "baz", "qux", "quux"]))
