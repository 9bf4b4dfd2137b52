"""MiDaS' names of a hybrid DPT, as ldm's file of the depth model has them: its own modules around timm's
`vit_base_resnet50_384`. Written out by hand."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

CLASSES = 1000
"""Of ImageNet: the transformer's head is in the file, and is not read."""


def midas_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names of `DPTForDepthEstimation` -> MiDaS', query, key and value as one tensor."""
    bit, resnet = "dpt.embeddings.backbone.bit", "pretrained.model.patch_embed.backbone"
    found = {
        "pretrained.model.cls_token": state["dpt.embeddings.cls_token"],
        "pretrained.model.pos_embed": state["dpt.embeddings.position_embeddings"],
        f"{resnet}.stem.conv.weight": state[f"{bit}.embedder.convolution.weight"],
        "scratch.layer1_rn.weight": state["neck.convs.0.weight"],
        "scratch.layer2_rn.weight": state["neck.convs.1.weight"],
        "scratch.layer3_rn.weight": state["neck.convs.2.weight"],
        "scratch.layer4_rn.weight": state["neck.convs.3.weight"],
    }
    for name, tensor in state.items():
        if name.startswith(f"{bit}.encoder.stages."):
            found[name.replace(f"{bit}.encoder", resnet).replace(".layers.", ".blocks.")] = tensor
    for kind in ("weight", "bias"):
        both = {
            f"{resnet}.stem.norm": f"{bit}.embedder.norm",
            "pretrained.model.patch_embed.proj": "dpt.embeddings.projection",
            "pretrained.model.norm": "dpt.layernorm",
            "pretrained.act_postprocess3.0.project.0": "neck.reassemble_stage.readout_projects.2.0",
            "pretrained.act_postprocess3.3": "neck.reassemble_stage.layers.2.projection",
            "pretrained.act_postprocess4.0.project.0": "neck.reassemble_stage.readout_projects.3.0",
            "pretrained.act_postprocess4.3": "neck.reassemble_stage.layers.3.projection",
            "pretrained.act_postprocess4.4": "neck.reassemble_stage.layers.3.resize",
            **{f"scratch.output_conv.{index}": f"head.head.{index}" for index in (0, 2, 4)},
        }
        for fine in (1, 2, 3, 4):
            old, new = f"neck.fusion_stage.layers.{4 - fine}", f"scratch.refinenet{fine}"
            both[f"{new}.out_conv"] = f"{old}.projection"
            for unit in (1, 2):
                for conv in (1, 2):
                    both[f"{new}.resConfUnit{unit}.conv{conv}"] = f"{old}.residual_layer{unit}.convolution{conv}"
        for index in range(layers_of(state)):
            old, new = f"dpt.encoder.layer.{index}", f"pretrained.model.blocks.{index}"
            both[f"{new}.norm1"], both[f"{new}.norm2"] = f"{old}.layernorm_before", f"{old}.layernorm_after"
            both[f"{new}.attn.proj"] = f"{old}.attention.output.dense"
            both[f"{new}.mlp.fc1"], both[f"{new}.mlp.fc2"] = f"{old}.intermediate.dense", f"{old}.output.dense"
            qkv = [state[f"{old}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"{new}.attn.qkv.{kind}"] = torch.cat(qkv)
        found |= {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for ours, theirs in both.items()}
    width = found["pretrained.model.norm.weight"].shape[0]
    norm = found["pretrained.model.norm.weight"]
    return {
        **found,
        "pretrained.model.head.weight": norm.new_zeros(CLASSES, width),
        "pretrained.model.head.bias": norm.new_zeros(CLASSES),
    }


def layers_of(state: Mapping[str, Tensor]) -> int:
    """Layers of the transformer."""
    return len({name.split(".")[3] for name in state if name.startswith("dpt.encoder.layer.")})
