"""The depth estimator that depth models were trained with: transformers' own DPT, called layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from webui.nn.depth_config import PATCH, DepthConfig

if TYPE_CHECKING:
    from transformers import DPTConfig


class DepthEstimator(nn.Module):
    """A transformers `DPTForDepthEstimation` of the hybrid kind; its keys are those of transformers' files: `dpt...`,
    `neck...`, `head...`."""

    def __init__(self, config: DepthConfig) -> None:
        from transformers import DPTForDepthEstimation

        super().__init__()
        network = DPTForDepthEstimation(dpt_config(config))
        self.config = config
        self.dpt, self.neck, self.head = network.dpt, network.neck, network.head

    def forward(self, image: Tensor) -> Tensor:
        """image: (b 3 s s) in -1..1, s being `config.size` -> inverse depth (b s s) of unknown scale, near = large."""
        embedded = self.dpt.embeddings(image)
        state, states = embedded.last_hidden_states, []
        for layer in self.dpt.encoder.layer:
            state = layer(state)
            states.append(state)
        maps = [*embedded.intermediate_activations, *(states[tap] for tap in self.config.taps)]
        depth: Tensor = self.head(self.neck(maps))
        return depth


def build_depth(config: DepthConfig) -> DepthEstimator:
    """The depth estimator of a config, its weights as transformers initialises them."""
    return DepthEstimator(config)


def dpt_config(config: DepthConfig) -> DPTConfig:
    """The same architecture in transformers' words."""
    from transformers import DPTConfig

    side = config.size // PATCH
    return DPTConfig(
        is_hybrid=True,
        image_size=config.size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        backbone_featmap_shape=[1, config.stages[-1], side, side],
        backbone_out_indices=[0, 1, *config.taps],  # the first two are maps of the ResNet
        neck_hidden_sizes=[*config.stages[:2], *config.neck],
        reassemble_factors=[1, 1, 1, 0.5],
        fusion_hidden_size=config.fusion,
        backbone_config={
            "model_type": "bit",
            "global_padding": "same",
            "layer_type": "bottleneck",
            "embedding_dynamic_padding": True,
            "embedding_size": config.stem,
            "hidden_sizes": [*config.stages],
            "depths": [*config.depths],
            "num_groups": config.norm_groups,
            "out_features": ["stage1", "stage2", "stage3"],
        },
    )
