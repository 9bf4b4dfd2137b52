"""Networks of transformers' own classes, very small and with random weights, saved as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from transformers import (
    BeitConfig,
    BitConfig,
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessorPil,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessorPil,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessorPil,
    RTDetrResNetConfig,
    SegformerImageProcessorPil,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessorPil,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessorPil,
)

VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
NECK = {"neck_hidden_sizes": [4, 8, 8, 8], "fusion_hidden_size": 8}
BINS = {"n_bins": 4, "min_depth": 0.001}


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Draw every weight anew, so that nothing is zero and no two pictures look alike to the network."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        scale = 0.5 if parameter.ndim < 2 else (2 / parameter[0].numel()) ** 0.5
        parameter.data = torch.randn(parameter.shape, generator=draw) * scale
    return network.eval()


def write_depth_anything(folder: Path, kind: str = "relative") -> nn.Module:
    stages = [f"stage{number}" for number in range(1, 5)]
    backbone = Dinov2Config(**VIT, image_size=28, patch_size=14, out_features=stages, reshape_hidden_states=False)
    config = DepthAnythingConfig(
        backbone_config=backbone, **NECK, reassemble_hidden_size=16, head_hidden_size=4, depth_estimation_type=kind,
        max_depth=20,
    )  # fmt: skip
    processor = DPTImageProcessorPil(
        size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    return _write(folder, DepthAnythingForDepthEstimation(config), processor)


def write_dpt(folder: Path, hybrid: bool = False) -> nn.Module:
    config = DPTConfig(
        **VIT, **NECK, image_size=32, patch_size=8, backbone_out_indices=[0, 1, 2, 3], use_auxiliary_head=False
    )
    if hybrid:
        stages = ["stage1", "stage2", "stage3"]
        backbone = BitConfig(
            embedding_size=8, hidden_sizes=[8, 8, 16], depths=[1, 1, 1], layer_type="bottleneck", num_groups=4,
            global_padding="same", embedding_dynamic_padding=True, out_features=stages,
        )  # fmt: skip
        config = DPTConfig(
            **VIT, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, image_size=64, patch_size=16,
            backbone_out_indices=[0, 1, 2, 3], use_auxiliary_head=False, is_hybrid=True, backbone_config=backbone,
            backbone_featmap_shape=[1, 16, 4, 4], neck_ignore_stages=[0, 1],
        )  # fmt: skip
    side = 64 if hybrid else 32
    return _write(folder, DPTForDepthEstimation(config), DPTImageProcessorPil(size={"height": side, "width": side}))


def write_zoe(folder: Path, heads: int = 1) -> nn.Module:
    backbone = BeitConfig(
        **VIT, image_size=32, patch_size=8, out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
        use_relative_position_bias=True,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, **NECK, num_relative_features=4, bottleneck_features=8, num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8, bin_configurations=[{**BINS, "max_depth": 10.0, "name": f"bins{n}"} for n in range(heads)],
        num_patch_transformer_layers=4, patch_transformer_hidden_size=128, patch_transformer_intermediate_size=16,
        patch_transformer_num_attention_heads=2,
    )  # fmt: skip
    processor = ZoeDepthImageProcessorPil(size={"height": 32, "width": 48}, ensure_multiple_of=8)
    return _write(folder, ZoeDepthForDepthEstimation(config), processor)


def write_rtdetr(folder: Path) -> nn.Module:
    """A detector of 20 boxes and 5 classes; "person" is class 1."""
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone, encoder_in_channels=[8, 16, 16], encoder_hidden_dim=16, encoder_ffn_dim=16,
        encoder_layers=1, encoder_attention_heads=2, d_model=16, num_queries=20, decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16, decoder_layers=2, decoder_attention_heads=2, decoder_n_points=2, num_denoising=0,
        anchor_image_size=None, id2label={0: "dog", 1: "Person", 2: "cup", 3: "car", 4: "cat"},
    )  # fmt: skip
    return _write(folder, RTDetrForObjectDetection(config), RTDetrImageProcessorPil(size={"height": 64, "width": 64}))


def write_vitpose(folder: Path, experts: int = 1, simple: bool = True, joints: int = 17) -> nn.Module:
    backbone = VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 48],
        patch_size=[16, 16], out_features=["stage2"], num_experts=experts, part_features=4,
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=joints, scale_factor=4, use_simple_decoder=simple)
    processor = VitPoseImageProcessorPil(size={"height": 64, "width": 48})
    return _write(folder, VitPoseForPoseEstimation(config), processor)


def write_oneformer(folder: Path, classes: int = 150) -> nn.Module:
    """Its processor names a list of classes that only the hub has, as the real one does."""
    stages = [f"stage{number}" for number in range(1, 5)]
    backbone = SwinConfig(
        embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, image_size=64, out_features=stages
    )
    config = OneFormerConfig(
        backbone_config=backbone, num_queries=8, conv_dim=32, mask_dim=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, text_encoder_width=16,
        text_encoder_num_layers=1, query_dec_layers=1, num_labels=classes,
    )  # fmt: skip
    processor = OneFormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 200}, num_text=4)
    network = _write(folder, OneFormerForUniversalSegmentation(config), processor)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "class_info_file": "ade20k_panoptic.json"}))
    return network


def write_upernet(folder: Path, classes: int = 150) -> nn.Module:
    stages = [f"stage{number}" for number in range(1, 5)]
    config = UperNetConfig(
        backbone_config=ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=stages),
        hidden_size=16, pool_scales=[1, 2], auxiliary_channels=8, auxiliary_in_channels=16, num_labels=classes,
    )  # fmt: skip
    processor = SegformerImageProcessorPil(size={"height": 64, "width": 64})
    return _write(folder, UperNetForSemanticSegmentation(config), processor)


def _write(folder: Path, network: nn.Module, processor: object) -> nn.Module:
    randomize(network, 0)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return network
