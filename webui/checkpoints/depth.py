"""The depth estimator inside a depth model: where files keep it, by which names, and what shapes tell of it.

ldm's file holds MiDaS 3 behind `depth_model.model.`, by MiDaS' own names; a diffusers folder has transformers' DPT in
`depth_estimator`, and the two are the same network. What comes from elsewhere is shown behind `depth_model.`, followed
by the kind of its names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import count, takewhile
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import Layout, Source
from webui.checkpoints.names import Renamed
from webui.nn.depth_config import PATCH
from webui.schema.errors import ModelError

DEPTH = "depth_model."
MIDAS, TRANSFORMERS = "model.", "transformer."
"""The kinds of names, as they follow `DEPTH`."""
HEAD_WIDTH = 64
"""Of the vision transformers that MiDaS was made of."""
_BIT = "dpt.embeddings.backbone.bit."
_MARK = "neck.convs.0.weight"
_MIDAS_MARK = "scratch.layer1_rn.weight"
_RESNET = "pretrained.model.patch_embed.backbone."


def depth_names(names: Iterable[str]) -> Renamed:
    """The estimator's tensors among those of its own file, our names beginning with the kind; empty: there is none."""
    names = frozenset(names)
    if _MARK in names:
        return {TRANSFORMERS + name: name for name in names}
    prefix = next((prefix for prefix in (DEPTH + MIDAS, "") if prefix + _MIDAS_MARK in names), None)
    if prefix is None:
        return {}
    return {MIDAS + name.removeprefix(prefix): name for name in names if name.startswith(prefix)}


def depth_layout(names: Iterable[str]) -> Layout | None:
    """Where a checkpoint with these names has each tensor of our estimator; None where it has no estimator."""
    names = frozenset(names)
    if f"{DEPTH}{TRANSFORMERS}{_MARK}" in names:
        return lambda name: Source(f"{DEPTH}{TRANSFORMERS}{name}")
    return _midas if f"{DEPTH}{MIDAS}{_MIDAS_MARK}" in names else None


def depth_facts(header: Header) -> dict[str, Any] | None:
    """What shapes tell of the estimator, in the form of `DepthConfig`: all but heads, norm groups and taps; None where
    there is none.

    Raises:
        ModelError: a part of it is missing, or has another form.
    """
    layout = depth_layout(header.tensors)
    if layout is None:
        return None
    try:
        return _facts(lambda name: header.shape(layout(name).name))
    except (TypeError, IndexError) as error:
        raise ModelError(
            "The depth estimator of the checkpoint is not whole, or not of MiDaS' hybrid kind.",
            "Get another version of the file.",
        ) from error


def _facts(shape: Callable[[str], tuple[int, ...] | None]) -> dict[str, Any]:
    """shape: name in our estimator -> shape in the file; a missing one ends in a TypeError."""

    def needed(name: str) -> tuple[int, ...]:
        return tuple(shape(name))  # type: ignore[arg-type]

    def counted(pattern: str) -> int:
        return sum(1 for _ in takewhile(lambda i: shape(pattern.format(i)) is not None, count()))

    blocks = [f"{_BIT}encoder.stages.{stage}.layers.{{}}.conv3.weight" for stage in range(3)]
    tokens, width = needed("dpt.embeddings.position_embeddings")[1:]
    return {
        "size": round((tokens - 1) ** 0.5) * PATCH,
        "stem": needed(f"{_BIT}embedder.convolution.weight")[0],
        "stages": [needed(block.format(0))[0] for block in blocks],
        "depths": [counted(block) for block in blocks],
        "width": width,
        "layers": counted("dpt.encoder.layer.{}.layernorm_before.weight"),
        "heads": max(1, width // HEAD_WIDTH),
        "mlp_width": needed("dpt.encoder.layer.0.intermediate.dense.weight")[0],
        "neck": [needed(f"neck.reassemble_stage.layers.{stage}.projection.weight")[0] for stage in (2, 3)],
        "fusion": needed("neck.convs.0.weight")[0],
    }


def _midas(name: str) -> Source:
    """A tensor of transformers' DPT, as MiDaS names it in ldm's file."""
    for pattern, theirs in _PATTERNS:
        if hit := pattern.match(name):
            third = _QKV.index(hit["third"]) if "third" in pattern.groupindex else None
            return Source(f"{DEPTH}{MIDAS}{theirs(hit)}{name[hit.end() :]}", third)
    return Source(f"{DEPTH}{MIDAS}{name}")


_QKV = ("query", "key", "value")
_BLOCK_PARTS = {
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}


def _is(text: str) -> Callable[[re.Match[str]], str]:
    return lambda _hit: text


_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), theirs)
    for pattern, theirs in (
        (r"dpt\.embeddings\.cls_token", _is("pretrained.model.cls_token")),
        (r"dpt\.embeddings\.position_embeddings", _is("pretrained.model.pos_embed")),
        (r"dpt\.embeddings\.projection\.", _is("pretrained.model.patch_embed.proj.")),
        (rf"{re.escape(_BIT)}embedder\.convolution\.", _is(f"{_RESNET}stem.conv.")),
        (rf"{re.escape(_BIT)}embedder\.norm\.", _is(f"{_RESNET}stem.norm.")),
        (rf"{re.escape(_BIT)}encoder\.stages\.(\d+)\.layers\.(\d+)\.",
         lambda hit: f"{_RESNET}stages.{hit[1]}.blocks.{hit[2]}."),
        (r"dpt\.encoder\.layer\.(\d+)\.attention\.attention\.(?P<third>query|key|value)\.",
         lambda hit: f"pretrained.model.blocks.{hit[1]}.attn.qkv."),
        (rf"dpt\.encoder\.layer\.(\d+)\.({'|'.join(map(re.escape, _BLOCK_PARTS))})\.",
         lambda hit: f"pretrained.model.blocks.{hit[1]}.{_BLOCK_PARTS[hit[2]]}."),
        (r"dpt\.layernorm\.", _is("pretrained.model.norm.")),
        (r"neck\.reassemble_stage\.readout_projects\.(\d)\.0\.",
         lambda hit: f"pretrained.act_postprocess{int(hit[1]) + 1}.0.project.0."),
        (r"neck\.reassemble_stage\.layers\.(\d)\.(projection|resize)\.",
         lambda hit: f"pretrained.act_postprocess{int(hit[1]) + 1}.{3 if hit[2] == 'projection' else 4}."),
        (r"neck\.convs\.(\d)\.", lambda hit: f"scratch.layer{int(hit[1]) + 1}_rn."),
        # MiDaS counts from the finest map, transformers from the coarsest
        (r"neck\.fusion_stage\.layers\.(\d)\.projection\.",
         lambda hit: f"scratch.refinenet{4 - int(hit[1])}.out_conv."),
        (r"neck\.fusion_stage\.layers\.(\d)\.residual_layer(\d)\.convolution(\d)\.",
         lambda hit: f"scratch.refinenet{4 - int(hit[1])}.resConfUnit{hit[2]}.conv{hit[3]}."),
        (r"head\.head\.", _is("scratch.output_conv.")),
    )
)  # fmt: skip
"""Beginnings of names in our estimator, and MiDaS' in their place; what follows is the same."""
