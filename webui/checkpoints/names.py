"""Where files keep the parts of a model: any layout that was published -> the names of an ldm single file, bare.

A map goes from our name to the name in the file. Layouts of a U-Net: behind a prefix, bare, diffusers. Of an
autoencoder: the same; diffusers counts the decoder's levels from the coarsest, and its older files name the attention
otherwise. Of a text encoder: transformers (with or without `text_model.`) or OpenCLIP.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from webui.checkpoints.layouts import UNET, VAE

Renamed = dict[str, str]
"""Our name -> the file's."""

UNET_PREFIXES = (UNET, "diffusion_model.", "")
VAE_PREFIXES = (VAE, "vae.", "")
UNET_MARK, DIFFUSERS_UNET_MARK = "input_blocks.0.0.weight", "time_embedding.linear_1.weight"
VAE_MARK, DIFFUSERS_VAE_MARK = "decoder.mid.block_1.norm1.weight", "decoder.mid_block.resnets.0.norm1.weight"


def unet_names(names: Iterable[str]) -> Renamed:
    """The U-Net's tensors among these; empty where there is none."""
    names = frozenset(names)
    for prefix in UNET_PREFIXES:
        if prefix + UNET_MARK in names:
            return _behind(prefix, names)
    if DIFFUSERS_UNET_MARK in names:
        sizes = _resnets(names)
        return {_unet_name(name, sizes, names): name for name in names}
    return {}


def vae_names(names: Iterable[str]) -> Renamed:
    """The autoencoder's tensors among these; empty where there is none."""
    names = frozenset(names)
    for prefix in VAE_PREFIXES:
        if prefix + VAE_MARK in names:
            return _behind(prefix, names)
    if DIFFUSERS_VAE_MARK in names:
        last = len({name.split(".")[2] for name in names if name.startswith("decoder.up_blocks.")}) - 1
        return {_vae_name(name, last): name for name in names}
    return {}


def text_names(names: Iterable[str]) -> Renamed:
    """A text encoder's tensors among those of its own file, our names beginning with the kind: "transformer." has
    transformers' names, "model." OpenCLIP's; empty where there is none."""
    names = frozenset(names)
    if "text_model.embeddings.token_embedding.weight" in names:
        return {f"transformer.{name}": name for name in names}
    if "embeddings.token_embedding.weight" in names:  # as transformers 5 writes an encoder without projection
        return {f"transformer.text_model.{name}": name for name in names}
    if "positional_embedding" in names and "ln_final.weight" in names:
        return {f"model.{name}": name for name in names}
    return {}


def _behind(prefix: str, names: Iterable[str]) -> Renamed:
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}


_OUTSIDE: Mapping[str, str] = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "class_embedding": "label_emb",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET: Mapping[str, str] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LAYER = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def _resnets(names: Iterable[str]) -> Counter[tuple[str, int]]:
    """How many residual blocks each level of each side has."""
    found = (_LAYER.fullmatch(name) for name in names)
    blocks = {(hit[1], int(hit[2]), hit[4]) for hit in found if hit and hit[3] == "resnets"}
    return Counter((side, level) for side, level, _ in blocks)


def _unet_name(name: str, sizes: Counter[tuple[str, int]], names: frozenset[str]) -> str:
    hit = _LAYER.fullmatch(name)
    if hit is None:
        start = next((start for start in _OUTSIDE if name.startswith(f"{start}.")), None)
        if start is None:
            return name
        rest = name[len(start) + 1 :]
        return f"{_OUTSIDE[start]}.{_resnet_name(rest) if '.resnets.' in start else rest}"
    side, level, kind, j, rest = hit[1], int(hit[2]), hit[3], int(hit[4]), hit[5]
    before = sum(sizes[side, lower] for lower in range(level))
    if side == "down":  # the first entry is conv_in, and each level above ended with an entry that halves
        block = f"input_blocks.{1 + before + level + (sizes[side, level] if kind == 'downsamplers' else j)}"
    else:
        block = f"output_blocks.{before + (sizes[side, level] - 1 if kind == 'upsamplers' else j)}"
    if kind == "downsamplers":
        return f"{block}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"{block}.{2 if f'up_blocks.{level}.attentions.0.norm.weight' in names else 1}.{rest}"
    return f"{block}.1.{rest}" if kind == "attentions" else f"{block}.0.{_resnet_name(rest)}"


def _resnet_name(rest: str) -> str:
    part, _, kind = rest.partition(".")
    return f"{_RESNET[part]}.{kind}" if part in _RESNET else rest


_VAE_PARTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
        (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
        (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
        (r"\.attn_1\.group_norm\.", ".attn_1.norm."),
        (r"\.attn_1\.(?:to_q|query)\.", ".attn_1.q."),
        (r"\.attn_1\.(?:to_k|key)\.", ".attn_1.k."),
        (r"\.attn_1\.(?:to_v|value)\.", ".attn_1.v."),
        (r"\.attn_1\.(?:to_out\.0|proj_attn)\.", ".attn_1.proj_out."),
        (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
        (r"\.down_blocks\.(\d+)\.resnets\.", r".down.\1.block."),
        (r"\.up_blocks\.(\d+)\.upsamplers\.0\.", r".up.\1.upsample."),
        (r"\.up_blocks\.(\d+)\.resnets\.", r".up.\1.block."),
        (r"\.conv_shortcut\.", ".nin_shortcut."),
        (r"\.conv_norm_out\.", ".norm_out."),
    )
)


def _vae_name(name: str, last: int) -> str:
    for pattern, ours in _VAE_PARTS:
        name = pattern.sub(ours, name)
    return re.sub(r"\.up\.(\d+)\.", lambda hit: f".up.{last - int(hit[1])}.", name)
