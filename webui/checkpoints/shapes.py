"""What the shapes of a checkpoint's tensors tell of its architecture: widths, depths, numbers of channels.

The names are those of an ldm single file; the facts those of `webui.nn.config`, in the form of `to_json`.
"""

from __future__ import annotations

from itertools import count, takewhile
from typing import Any, Final

from webui.checkpoints.header import Header
from webui.checkpoints.kinds import CHECKPOINT, COMPLETE
from webui.checkpoints.layouts import (
    MLP,
    POSITIONS,
    PROJECTION,
    TOKENS,
    UNET,
    VAE,
    Layout,
    text_layers,
    text_shapes,
)
from webui.schema.errors import ModelError

HEAD_WIDTH: Final = 64
"""Of every CLIP text encoder that was published."""
CLIP_VOCABULARY: Final = 49408


def unet_facts(header: Header) -> dict[str, Any]:
    """What shapes tell of the U-Net: all but heads and norm groups."""
    return {
        **encoder_facts(header),
        "out_channels": needed(header, f"{UNET}out.2.weight")[0],
        "context_dim": context_width(header),
    }


def encoder_facts(header: Header) -> dict[str, Any]:
    """What shapes tell of a U-Net's encoder and middle, which a ControlNet has too."""
    first = needed(header, f"{UNET}input_blocks.0.0.weight")
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
    width = needed(header, f"{VAE}encoder.conv_in.weight")
    levels = [needed(header, name)[0] for name in _counted(header, f"{VAE}encoder.down.{{}}.block.0.conv1.weight")]
    return {
        "channels": width[0],
        "in_channels": width[1],
        "channel_mult": [level // width[0] for level in levels],
        "num_res_blocks": len(_counted(header, f"{VAE}encoder.down.0.block.{{}}.conv1.weight")),
        "z_channels": needed(header, f"{VAE}decoder.conv_in.weight")[1],
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
        return needed(header, name)[1]
    raise ModelError("The U-Net has no cross-attention: it cannot be steered by a prompt.", CHECKPOINT)


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


def needed(header: Header, name: str) -> tuple[int, ...]:
    shape = header.shape(name)
    if shape is None or len(shape) < 2:
        raise ModelError(f"The checkpoint is not whole: {name} is missing.", COMPLETE)
    return shape
