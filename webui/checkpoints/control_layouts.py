"""Where a ControlNet's file keeps its parts: as ldm names them (bare or prefixed), or as diffusers does.

Our modules have ldm's names, bare: "input_blocks.0.0.weight", "input_hint_block.0.weight", "zero_convs.0.0.weight".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "control_model."
DIFFUSERS_MARK = "controlnet_cond_embedding.conv_in.weight"
HINT = "input_hint_block.0.weight"
OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_mid_block": "middle_block_out.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
INSIDE = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_LAYER = re.compile(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.+)")
_NUMBERED = re.compile(r"(controlnet_down_blocks|controlnet_cond_embedding\.blocks)\.(\d+)\.(.+)")
_RESNET = re.compile(
    r"(.*(?:middle_block\.[02]|input_blocks\.\d+\.0))\.(norm1|conv1|time_emb_proj|norm2|conv2|conv_shortcut)\."
)


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Bare ldm name -> name in the file, of all tensors of a ControlNet in any layout."""
    names = list(names)
    if DIFFUSERS_MARK in names:
        return diffusers_names(names)
    if PREFIX + HINT in names:
        return {name.removeprefix(PREFIX): name for name in names if name.startswith(PREFIX)}
    return {name: name for name in names}


def diffusers_names(names: Iterable[str]) -> dict[str, str]:
    """Bare ldm name -> diffusers' name. What only ControlNet-Union has keeps its own names."""
    names = list(names)
    per_level = 1 + max((int(found[3]) for name in names if (found := _LAYER.match(name))), default=0)
    conv_out = 2 * (1 + len({found[2] for name in names if (found := _block(name))}))
    return {_renamed(name, per_level, conv_out): name for name in names}


def _block(name: str) -> re.Match[str] | None:
    found = _NUMBERED.match(name)
    return found if found and found[1].endswith("blocks") and "cond" in found[1] else None


def _renamed(name: str, per_level: int, conv_out: int) -> str:
    if found := _LAYER.match(name):
        level, kind, j, rest = int(found[1]), found[2], int(found[3]), found[4]
        block = 1 + level * (per_level + 1) + (per_level if kind == "downsamplers" else j)
        layer = 1 if kind == "attentions" else 0
        rest = rest.replace("conv.", "op.", 1) if kind == "downsamplers" else rest
        return _inner(f"input_blocks.{block}.{layer}.{rest}")
    if found := _NUMBERED.match(name):
        if "cond" in found[1]:
            return f"input_hint_block.{2 * (int(found[2]) + 1)}.{found[3]}"
        return f"zero_convs.{found[2]}.0.{found[3]}"
    if name.startswith("controlnet_cond_embedding.conv_out."):
        return f"input_hint_block.{conv_out}.{name.rsplit('.', 1)[1]}"
    for theirs, ours in OUTSIDE.items():
        if name.startswith(f"{theirs}."):
            return _inner(ours + name.removeprefix(theirs))
    return name


def _inner(name: str) -> str:
    """Names inside a residual block; transformers are named alike."""
    found = _RESNET.match(name)
    return f"{found[1]}.{INSIDE[found[2]]}.{name[found.end() :]}" if found else name


def has_difference(names: Mapping[str, object]) -> bool:
    """Whether the file holds differences to the U-Net's weights: those are added when it is loaded."""
    return "difference" in names or f"{PREFIX}difference" in names
