"""What a model file is, from the names and shapes of its tensors.

Shapes tell widths, depths and numbers of channels. What they do not tell (heads, latent scale, what the network
predicts) is the family's: SD 1.x, SD 2.x, SDXL. Whoever writes a file may say it in the header, under
`atelier.config` or with modelspec's keys, or in a JSON file beside it.

SD 2.x came as a model of 512 pixels that predicts noise and one of 768 that predicts v, with equal names and shapes.
A file that does not say which is taken for the second; `{"atelier.config": {"prediction": "epsilon",
"native_size": 512}}` in a JSON file of the same name beside it says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import (
    MLP,
    POSITIONS,
    PROJECTION,
    TOKENS,
    UNET,
    VAE,
    Layout,
    text_layers,
    text_layouts,
    text_shapes,
)  # fmt: skip
from webui.nn.config import SD15, SD21, SDXL, ModelConfig, UNetConfig
from webui.schema.errors import ModelError

CONFIG_KEY = "atelier.config"
FAMILIES: Mapping[int, ModelConfig] = {768: SD15, 1024: SD21, 2048: SDXL}
"""By the width of what the U-Net reads as text."""
HEAD_WIDTH = 64
"""Of every CLIP text encoder that was published."""


def detect_config(header: Header, sidecar: Mapping[str, Any] | None = None) -> ModelConfig:
    """The architecture of a checkpoint.

    sidecar: the JSON object of the file beside it, if any; only its `atelier.config` is read, and goes before all else.

    Raises:
        ModelError: the file is no Stable Diffusion checkpoint; the message says what it looks like.
    """
    said: dict[str, Any] = header.json(CONFIG_KEY) or {}
    beside = (sidecar or {}).get(CONFIG_KEY) or {}
    try:
        found = {} if "unet" in said else config_facts(header)
        config = ModelConfig.from_json(merged(merged(found, said), beside))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The file's architecture cannot be used: {error}.", "Get another version of it.") from error
    _check_input(config.unet)
    return config


def read_sidecar(path: Path) -> dict[str, Any]:
    """The JSON object beside a model file (`model.json` for `model.safetensors`); empty where there is none."""
    try:
        data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def check_kind(header: Header) -> None:
    """Let Stable Diffusion checkpoints pass.

    Raises:
        ModelError: with what the file looks like instead, and where that belongs.
    """
    names = header.tensors
    kinds = () if f"{UNET}input_blocks.0.0.weight" in names else _KINDS
    for found, kind, cure in kinds:
        if found(names):
            raise ModelError(f"This is no checkpoint: it looks like {kind}.", cure)
    if not any(name.startswith(UNET) for name in names):
        raise ModelError(f"This is no Stable Diffusion checkpoint: no tensor begins with {UNET!r}.", _CHECKPOINT)
    if not any(name.startswith(VAE) for name in names):
        raise ModelError(f"The checkpoint holds no autoencoder: no tensor begins with {VAE!r}.", _COMPLETE)
    if not text_layouts(names):
        raise ModelError("The checkpoint holds no text encoder.", _COMPLETE)


def config_facts(header: Header) -> dict[str, Any]:
    """The config of a published checkpoint, in the form of `ModelConfig.to_json`: shapes laid over the family's values.

    Raises:
        ModelError: as `detect_config`.
    """
    check_kind(header)
    family, layouts = _family(header), text_layouts(header.tensors)
    if len(layouts) != len(family.texts):
        raise ModelError(
            f"The checkpoint has {len(layouts)} text encoders, {family.family} needs {len(family.texts)}.", _COMPLETE
        )
    texts = [
        {**known, **text_facts(header, layout)}
        for layout, known in zip(layouts, family.to_json()["texts"], strict=True)
    ]
    for text in texts:
        text["projection"] = text["projection"] if text["pooled"] else None
    facts = {"unet": unet_facts(header), "vae": vae_facts(header), "texts": texts}
    return merged(merged(family.to_json(), facts), prediction_facts(header, family))


def unet_facts(header: Header) -> dict[str, Any]:
    """What shapes tell of the U-Net: all but heads and norm groups."""
    return {
        **encoder_facts(header),
        "out_channels": _needed(header, f"{UNET}out.2.weight")[0],
        "context_dim": context_width(header),
    }


def encoder_facts(header: Header) -> dict[str, Any]:
    """What shapes tell of a U-Net's encoder and middle, which a ControlNet has too."""
    first = _needed(header, f"{UNET}input_blocks.0.0.weight")
    levels = _levels(header)
    label = header.shape(f"{UNET}label_emb.0.0.weight")
    proj_in = next((header.shape(name) for name in _inside("proj_in.weight", header)), None)
    return {
        "in_channels": first[1],
        "model_channels": first[0],
        "channel_mult": [level[0][0] // first[0] for level in levels],
        "num_res_blocks": [len(level) for level in levels] if len(set(map(len, levels))) > 1 else len(levels[0]),
        "transformer_depth": [level[0][1] for level in levels],
        "transformer_depth_middle": _depth(header, f"{UNET}middle_block.1."),
        "linear_projection": proj_in is not None and len(proj_in) == 2,
        "adm_channels": None if label is None else label[1],
    }


def vae_facts(header: Header) -> dict[str, Any]:
    """What shapes tell of the autoencoder: all but latent scale and norm groups."""
    width = _needed(header, f"{VAE}encoder.conv_in.weight")
    levels = [_needed(header, name)[0] for name in _counted(header, f"{VAE}encoder.down.{{}}.block.0.conv1.weight")]
    return {
        "channels": width[0],
        "in_channels": width[1],
        "channel_mult": [level // width[0] for level in levels],
        "num_res_blocks": len(_counted(header, f"{VAE}encoder.down.0.block.{{}}.conv1.weight")),
        "z_channels": _needed(header, f"{VAE}decoder.conv_in.weight")[1],
        "attention": f"{VAE}encoder.mid.attn_1.q.weight" in header.tensors,
        "quant_conv": f"{VAE}quant_conv.weight" in header.tensors,
    }


def text_facts(header: Header, layout: Layout) -> dict[str, Any]:
    """What shapes tell of a text encoder: all but which layer is read, activation and padding."""
    shapes = text_shapes(layout, {name: tensor.shape for name, tensor in header.tensors.items()})
    if MLP not in shapes or POSITIONS not in shapes:
        raise ModelError("The checkpoint's text encoder is not whole.", _COMPLETE)
    vocabulary, width = shapes[TOKENS]
    return {
        "vocab_size": vocabulary,
        "width": width,
        "heads": max(1, width // HEAD_WIDTH),
        "mlp_width": shapes[MLP][0],
        "length": shapes[POSITIONS][0],
        "layers": text_layers(layout, header.tensors),
        "projection": shapes[PROJECTION][0] if PROJECTION in shapes else None,
    }


def prediction_facts(header: Header, family: ModelConfig) -> dict[str, Any]:
    """What the network predicts, where the file says it: by a tensor named so, or in modelspec's words."""
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    schedule = {"schedule": {"zero_terminal_snr": "ztsnr" in header.tensors}}
    if "v_pred" in header.tensors or said in ("v", "v_prediction"):
        return {"prediction": "v", **schedule}
    if said in ("epsilon", "eps"):
        size = {"native_size": 512} if family.family == "sd2" else {}
        return {"prediction": "epsilon", **size, **schedule}
    return schedule


def context_width(header: Header) -> int:
    """Channels of the text that the U-Net's cross-attention reads.

    Raises:
        ModelError: it reads none.
    """
    for name in _inside("attn2.to_k.weight", header):
        return _needed(header, name)[1]
    raise ModelError("The U-Net has no cross-attention: it cannot be steered by a prompt.", _CHECKPOINT)


_CHECKPOINT = "Put a Stable Diffusion 1.x, 2.x or SDXL checkpoint here."
_COMPLETE = "Get the complete checkpoint, with U-Net, VAE and text encoder in one file."


def _family(header: Header) -> ModelConfig:
    width = context_width(header)
    if width == 1280:
        raise ModelError("This is the SDXL refiner, which cannot draw on its own.", "Use the SDXL base model.")
    if width not in FAMILIES:
        raise ModelError(f"The U-Net reads text of {width} channels, which no known family does.", _CHECKPOINT)
    return FAMILIES[width]


def _check_input(unet: UNetConfig) -> None:
    """Raises ModelError for U-Nets that want more than a latent to draw on."""
    if unet.in_channels == unet.out_channels:
        return
    kind = {9: "an inpainting model", 8: "an edit model (InstructPix2Pix)", 5: "a depth model"}.get(unet.in_channels)
    raise ModelError(
        f"This is {kind or 'a special model'}: its U-Net takes {unet.in_channels} channels instead of 4.",
        "Use an ordinary checkpoint; the Inpaint tab works with every one.",
    )


def _levels(header: Header) -> list[list[tuple[int, int]]]:
    """For each level of the U-Net, finest first, its residual blocks as (channels, transformer blocks behind it)."""
    levels: list[list[tuple[int, int]]] = [[]]
    for index in count(1):
        block = f"{UNET}input_blocks.{index}."
        if f"{block}0.op.weight" in header.tensors:
            levels.append([])
        elif (shape := header.shape(f"{block}0.out_layers.3.weight")) is not None:
            levels[-1].append((shape[0], _depth(header, f"{block}1.")))
        else:
            break
    if not all(levels):
        raise ModelError("The U-Net is not whole: a level has no blocks.", _COMPLETE)
    return levels


def _depth(header: Header, block: str) -> int:
    return len(_counted(header, f"{block}transformer_blocks.{{}}.norm1.weight"))


def _counted(header: Header, pattern: str) -> list[str]:
    """Names in the file with 0, 1, 2, ... in the pattern, up to the first that is missing."""
    return list(takewhile(lambda name: name in header.tensors, map(pattern.format, count())))


def _inside(ending: str, header: Header) -> list[str]:
    """The U-Net's tensors whose name ends so."""
    return [name for name in header.tensors if name.startswith(UNET) and name.endswith(ending)]


def _needed(header: Header, name: str) -> tuple[int, ...]:
    shape = header.shape(name)
    if shape is None or len(shape) < 2:
        raise ModelError(f"The checkpoint is not whole: {name} is missing.", _COMPLETE)
    return shape


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """JSON objects laid one over the other; objects inside are merged, all else is replaced."""
    both = base.keys() & over.keys()
    inner = {
        key: merged(base[key], over[key])
        for key in both
        if isinstance(base[key], Mapping) and isinstance(over[key], Mapping)
    }
    return {**base, **over, **inner}


Names = Mapping[str, Any]


def _has(*parts: str) -> Callable[[Names], bool]:
    """Whether some tensor's name has one of the parts in it."""
    return lambda names: any(part in name for name in names for part in parts)


def _all_begin(*starts: str) -> Callable[[Names], bool]:
    """Whether the names of all tensors begin in one of these ways."""
    return lambda names: bool(names) and all(name.startswith(starts) for name in names)


_KINDS: tuple[tuple[Callable[[Names], bool], str, str], ...] = (
    (lambda names: not names, "an empty file, without any tensor", _CHECKPOINT),
    (_has("lora_up", "lora_down", "lora_A.", "lora_B.", "hada_w1", "lokr_w1", "oft_blocks", "dora_scale"), "a LoRA",
     "Put it into models/Lora."),
    (_has("control_model.", "controlnet_cond_embedding", "input_hint_block", "zero_convs.", "controlnet_blocks."),
     "a ControlNet", "Put it into models/ControlNet."),
    (_has("ip_adapter."), "an IP-Adapter", "Put it into models/ControlNet."),
    (_has("adapter.body.", "body.0.block1."), "a T2I-Adapter", "Put it into models/ControlNet."),
    (_has("double_blocks."), "a Flux model", _CHECKPOINT),
    (_has("joint_blocks."), "a Stable Diffusion 3 model", _CHECKPOINT),
    (lambda names: "emb_params" in names or "string_to_param" in names or names.keys() <= {"clip_l", "clip_g"},
     "a textual inversion embedding", "Put it into the folder embeddings."),
    (_all_begin("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", VAE), "a VAE alone",
     "Put it into models/VAE."),
    (_all_begin("text_model.", "text_projection", "logit_scale", "cond_stage_model."), "a text encoder alone",
     "Put it into models/text_encoder."),
    (_all_begin("time_embedding.", "down_blocks.", "mid_block.", "up_blocks.", "conv_in.", "conv_out.",
                "conv_norm_out.", "add_embedding."), "the U-Net of a diffusers folder", _COMPLETE),
    (_all_begin("time_embed.", "input_blocks.", "middle_block.", "output_blocks.", "out.", "label_emb.",
                "diffusion_model."), "a U-Net alone", _COMPLETE),
    (_has("RDB1.", "rdb1.", "RRDB_trunk", "upsampler.", "conv_body.", "upconv1"), "an upscaler",
     "Put it into models/ESRGAN."),
)  # fmt: skip
"""Other files that end up in the folder of checkpoints: how to tell them, what they are, where they belong."""
