"""What a file looks like that is no checkpoint, and where it belongs: told by the names of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import UNET, VAE, text_layouts
from webui.schema.errors import ModelError

CHECKPOINT = "Put a Stable Diffusion 1.x, 2.x or SDXL checkpoint here."
COMPLETE = "Get the complete checkpoint, with U-Net, VAE and text encoder in one file."
JOIN = f'{COMPLETE} Or name the others in a JSON file beside it: {{"atelier.parts": {{"vae": ..., "texts": [...]}}}}.'
NAMED = 3
"""Tensors that an error names before it says "and n more"."""

Names = Mapping[str, Any]


def check_kind(header: Header) -> None:
    """Let Stable Diffusion checkpoints pass.

    Raises:
        ModelError: with what the file looks like instead, and where that belongs.
    """
    names = header.tensors
    whole = f"{UNET}input_blocks.0.0.weight" in names
    for found, kind, cure in _SPECIAL if whole else _KINDS:
        if found(names):
            raise ModelError(f"This is {kind}." if whole else f"This is no checkpoint: it looks like {kind}.", cure)
    if not whole:
        raise ModelError(
            f"This is no Stable Diffusion checkpoint: no tensor begins with {UNET!r}. It holds {some(sorted(names))}.",
            CHECKPOINT,
        )
    if not any(name.startswith(VAE) for name in names):
        raise ModelError(f"The checkpoint holds no autoencoder: no tensor begins with {VAE!r}.", JOIN)
    if not text_layouts(names):
        raise ModelError("The checkpoint holds no text encoder.", JOIN)


def some(names: list[str]) -> str:
    """The first few of these names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _has(*parts: str) -> Callable[[Names], bool]:
    """Whether some tensor's name has one of the parts in it."""
    return lambda names: any(part in name for name in names for part in parts)


def _all_begin(*starts: str) -> Callable[[Names], bool]:
    """Whether the names of all tensors begin in one of these ways."""
    return lambda names: bool(names) and all(name.startswith(starts) for name in names)


Kind = tuple[Callable[[Names], bool], str, str]
"""How to tell a kind of file, what it is called, and what to do with it."""

_SPECIAL: tuple[Kind, ...] = (
    (_has(".absmax", ".quant_state.", ".quant_map"), "a checkpoint quantised by bitsandbytes, which is not supported",
     "Use the same model in fp16, bf16 or fp8."),
    (lambda names: f"{UNET}time_embed.cond_proj.weight" in names,
     "an LCM that is told the guidance scale, which is not supported",
     "Use the LCM LoRA with an ordinary checkpoint, or a checkpoint that it is merged into."),
    (lambda names: "edm_mean" in names or "edm_vpred.sigma_max" in names,
     "a model trained with EDM's noise levels (Playground 2.5, CosXL), which is not supported",
     "Use an ordinary SDXL checkpoint."),
    (_has("motion_modules."), "a model for video, which is not supported", CHECKPOINT),
)  # fmt: skip
"""Checkpoints that want what is not there."""

_KINDS: tuple[Kind, ...] = (
    (lambda names: not names, "an empty file, without any tensor", CHECKPOINT),
    (_has("lora_up", "lora_down", "lora.up.", "lora.down.", "lora_A.", "lora_B.", "hada_w1", "lokr_w1", "oft_blocks",
          "oft_diag", "dora_scale", ".on_input"), "a LoRA", "Put it into models/Lora."),
    (_has("control_model.", "controlnet_cond_embedding", "input_hint_block", "zero_convs.", "controlnet_blocks."),
     "a ControlNet", "Put it into models/ControlNet."),
    (_has("ip_adapter."), "an IP-Adapter", "Put it into models/ControlNet."),
    (_has("adapter.body.", "body.0.block1."), "a T2I-Adapter", "Put it into models/ControlNet."),
    (_has("double_blocks."), "a Flux model", CHECKPOINT),
    (_has("joint_blocks."), "a Stable Diffusion 3 model", CHECKPOINT),
    (lambda names: "emb_params" in names or "string_to_param" in names or names.keys() <= {"clip_l", "clip_g"},
     "a textual inversion embedding", "Put it into the folder embeddings."),
    (_all_begin("encoder.layers.", "decoder.layers.", "taesd_"), "a tiny autoencoder for previews",
     "Put it into models/VAE-approx."),
    (_all_begin("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", VAE), "a VAE alone",
     "Put it into models/VAE."),
    (_all_begin("hypernet", "linear1.", "linear2.", "768.", "1024.", "1280.", "320.", "640."), "a hypernetwork",
     "Put it into models/hypernetworks."),
    (_has("vision_model."), "a CLIP vision encoder", "Put it into models/clip_vision."),
    (_has("motion_modules."), "a motion module for video, which is not supported", CHECKPOINT),
    (_all_begin("text_model.", "text_projection", "logit_scale", "cond_stage_model."), "a text encoder alone",
     "Put it into models/text_encoder."),
    (_has("token_embedding.weight"), "a text encoder alone", "Put it into models/text_encoder."),
    (_has("stylegan_decoder"), "a face restorer", "Put it into models/GFPGAN."),
    (_all_begin("time_embedding.", "down_blocks.", "mid_block.", "up_blocks.", "conv_in.", "conv_out.",
                "conv_norm_out.", "add_embedding.", "class_embedding."), "the U-Net of a diffusers folder", JOIN),
    (_all_begin("time_embed.", "input_blocks.", "middle_block.", "output_blocks.", "out.", "label_emb.",
                "diffusion_model."), "a U-Net alone", JOIN),
    (_has("RDB1.", "rdb1.", "RRDB_trunk", "upsampler.", "conv_body.", "upconv1"), "an upscaler",
     "Put it into models/ESRGAN."),
)  # fmt: skip
"""Other files that end up in the folder of checkpoints: how to tell them, what they are, where they belong."""
