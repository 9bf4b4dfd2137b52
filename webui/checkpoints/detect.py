"""What a checkpoint is, from the names and shapes of its tensors, which are those of an ldm single file.

Shapes tell widths, depths and numbers of channels. What they do not tell (heads, latent scale, what the network
predicts) is the family's: SD 1.x, SD 2.x, SDXL and their kin. Whoever writes a file may say it in the header, under
`atelier.config` or with modelspec's keys, or in a JSON or YAML file beside it.

SD 2.x came as a model of 512 pixels that predicts noise and one of 768 that predicts v, with equal names and shapes.
A file that does not say which is taken for the second; `{"atelier.config": {"prediction": "epsilon",
"native_size": 512}}` in a JSON file of the same name beside it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from webui.checkpoints.depth import depth_facts
from webui.checkpoints.header import Header
from webui.checkpoints.kinds import CHECKPOINT, COMPLETE, check_kind
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
from webui.checkpoints.notes import Notes
from webui.checkpoints.training import training_facts
from webui.nn.config import (
    EXTRA_CHANNELS,
    SD15,
    SD21,
    SD21_BASE,
    SDXL,
    SDXL_REFINER,
    X4_UPSCALER,
    Extra,
    ModelConfig,
    with_extra,
)  # fmt: skip
from webui.schema.errors import ModelError

CONFIG_KEY = "atelier.config"
FAMILIES: Mapping[int, ModelConfig] = {768: SD15, 1024: SD21, 2048: SDXL}
"""By the width of what the U-Net reads as text."""
HEAD_WIDTH = 64
"""Of every CLIP text encoder that was published."""
CLIP_VOCABULARY = 49408


def detect_config(header: Header, notes: Notes | None = None) -> ModelConfig:
    """The architecture of a checkpoint. notes: what stands beside it; a sidecar's `atelier.config` goes before all.

    Raises:
        ModelError: the file is no Stable Diffusion checkpoint; the message says what it looks like.
    """
    notes = notes or Notes()
    said: dict[str, Any] = header.json(CONFIG_KEY) or {}
    try:
        found = {} if "unet" in said else config_facts(header, notes)
        values = merged(merged(found, said), notes.sidecar.get(CONFIG_KEY) or {})
        if values.get("extra") == "depth" and not values.get("depth"):
            values["depth"] = depth_facts(header)
        return ModelConfig.from_json(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The file's architecture cannot be used: {error}.", "Get another version of it.") from error


def config_facts(header: Header, notes: Notes) -> dict[str, Any]:
    """The config of a published checkpoint, in the form of `ModelConfig.to_json`: shapes laid over the family's values,
    and what is said beside it over these.

    Raises:
        ModelError: as `detect_config`.
    """
    check_kind(header)
    family, layouts = _family(header), text_layouts(header.tensors)
    if len(layouts) != len(family.texts):
        raise ModelError(
            f"The checkpoint has {len(layouts)} text encoders, {family.family} needs {len(family.texts)}.", COMPLETE
        )
    shapes = {"unet": unet_facts(header), "vae": vae_facts(header), "texts": _texts(header, family, layouts, notes)}
    facts = merged(family.to_json(), shapes)
    for said in (notes.folder, notes.yaml):
        facts = merged(facts, {part: said[part] for part in ("unet", "vae") if part in said})
    return merged(facts, training_facts(header, family, notes))


def _texts(header: Header, family: ModelConfig, layouts: Sequence[Layout], notes: Notes) -> list[dict[str, Any]]:
    folder = notes.folder.get("texts") or [{}] * len(layouts)
    texts = []
    for layout, known, said in zip(layouts, family.to_json()["texts"], folder, strict=True):
        text = {**known, **text_facts(header, layout), **said}
        if _lacks_a_layer(known, text["layers"], bool(notes.folder)):
            text |= {"layers": text["layers"] + 1, "absent": 1}
        text["projection"] = text["projection"] if text["pooled"] else None
        texts.append(text)
    return texts


def _lacks_a_layer(known: Mapping[str, Any], layers: int, in_folder: bool) -> bool:
    """Whether diffusers wrote a text encoder of the family's kind, without the layer that is not read."""
    unread = known["default_layer"] == "penultimate" and known["final_norm"] and not known["pooled"]
    return bool(unread and (in_folder or layers + 1 == known["layers"]))


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
    classes = header.shape(f"{UNET}label_emb.weight")
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
        "num_classes": None if classes is None else classes[0],
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
        raise ModelError("The checkpoint's text encoder is not whole.", COMPLETE)
    vocabulary, width = shapes[TOKENS]
    last = min(vocabulary, CLIP_VOCABULARY)  # CLIP's two special tokens end its vocabulary; embeddings may follow
    return {
        "start_id": last - 2,
        "end_id": last - 1,
        "vocab_size": vocabulary,
        "width": width,
        "heads": max(1, width // HEAD_WIDTH),
        "mlp_width": shapes[MLP][0],
        "length": shapes[POSITIONS][0],
        "layers": text_layers(layout, header.tensors),
        "projection": shapes[PROJECTION][0] if PROJECTION in shapes else None,
    }


def context_width(header: Header) -> int:
    """Channels of the text that the U-Net's cross-attention reads.

    Raises:
        ModelError: it reads none.
    """
    for name in _inside("attn2.to_k.weight", header):
        return _needed(header, name)[1]
    raise ModelError("The U-Net has no cross-attention: it cannot be steered by a prompt.", CHECKPOINT)


def _family(header: Header) -> ModelConfig:
    """The family by the width of the text that the U-Net reads, and what it reads beside the latent."""
    width, extra = context_width(header), _extra(header)
    if f"{UNET}label_emb.weight" in header.tensors and width == SD21.unet.context_dim:
        return X4_UPSCALER
    if width == SDXL_REFINER.unet.context_dim:
        return SDXL_REFINER
    if width not in FAMILIES:
        raise ModelError(f"The U-Net reads text of {width} channels, which no known family does.", CHECKPOINT)
    if extra == "none":
        return FAMILIES[width]
    # SD 2.x's inpainting and depth models were made of the 512-pixel base model
    return with_extra(SD21_BASE if FAMILIES[width] is SD21 else FAMILIES[width], extra)


def _extra(header: Header) -> Extra:
    """What a U-Net of so many channels more than it gives out reads; "none" where no published one has as many."""
    channels = _needed(header, f"{UNET}input_blocks.0.0.weight")[1] - _needed(header, f"{UNET}out.2.weight")[0]
    return next((extra for extra, count in EXTRA_CHANNELS.items() if count == channels), "none")


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
        raise ModelError("The U-Net is not whole: a level has no blocks.", COMPLETE)
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
        raise ModelError(f"The checkpoint is not whole: {name} is missing.", COMPLETE)
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
