"""CLIP text encoders: transformers' own classes, with the layer choice and pooling that the U-Nets were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from webui.nn.config import TextConfig

if TYPE_CHECKING:
    from transformers import CLIPTextConfig


@dataclass(frozen=True)
class TextOutput:
    """What conditions the U-Net: hidden (b n d), and pooled (b d) where the model uses it."""

    hidden: Tensor
    pooled: Tensor | None


class TextEncoder(nn.Module):
    """A transformers `CLIPTextModel`, and the projection of `CLIPTextModelWithProjection` where the config has one.

    Its keys are those of transformers' files: `text_model.embeddings...`, `text_model.encoder.layers...`,
    `text_model.final_layer_norm...`, `text_projection.weight`.
    """

    def __init__(self, config: TextConfig) -> None:
        from transformers import CLIPTextModel

        super().__init__()
        self.config = config
        self.text_model = CLIPTextModel(clip_config(config))
        self.text_model.set_attn_implementation("sdpa")  # the layers are called with is_causal instead of a mask
        # a buffer that no file holds: real even when the module is built on the meta device
        self.text_model.embeddings.register_buffer(
            "position_ids", torch.arange(config.length, device="cpu")[None], persistent=False
        )
        if config.projection is not None:
            self.text_projection = nn.Linear(config.width, config.projection, bias=False)

    def forward(self, ids: Tensor, skip: int | None = None, embeddings: Tensor | None = None) -> TextOutput:
        """ids: (b n), embeddings: (b n d) in the place of those of the ids -> hidden (b n d), pooled (b d).

        skip: how many layers from the end the hidden state is taken, 1 being the last (users know it as clip
        skip); None is what the model was trained on. ValueError when the model has no such layer.
        """
        states = self.states(self.embed(ids) if embeddings is None else embeddings)
        skip = self.default_skip if skip is None else skip
        absent, layers = self.config.absent, self.config.layers
        if not 1 + absent <= skip <= layers:
            raise ValueError(f"clip skip {skip} is outside {1 + absent}..{layers}, the layers of this text encoder")
        norm = self.text_model.final_layer_norm
        state = states[absent - skip]
        hidden = norm(state) if self.config.final_norm else state
        return TextOutput(hidden, self.pool(norm(states[-1]), ids) if self.config.pooled else None)

    @property
    def default_skip(self) -> int:
        """The layer the U-Net was trained on, counted from the end."""
        return 1 if self.config.default_layer == "last" else 2

    def embed(self, ids: Tensor) -> Tensor:
        """The token embeddings, without positions: (b n) -> (b n d)."""
        return self.text_model.embeddings.token_embedding(ids)

    def states(self, embeddings: Tensor) -> list[Tensor]:
        """Outputs of all layers before the closing norm: (b n d) -> layers of (b n d)."""
        positions = self.text_model.embeddings.position_embedding.weight[: embeddings.shape[1]]  # (n d)
        state, states = embeddings + positions, []
        for layer in self.text_model.encoder.layers:
            state = layer(state, attention_mask=None, is_causal=True)
            states.append(state)
        return states

    def pool(self, normed: Tensor, ids: Tensor) -> Tensor:
        """The state at the first end-of-text token, projected: (b n d), (b n) -> (b d)."""
        end = (ids == self.config.end_id).int().argmax(dim=-1)  # (b,)
        pooled = normed[torch.arange(len(ids), device=ids.device), end]
        return pooled if self.config.projection is None else self.text_projection(pooled)


def build_text(config: TextConfig) -> TextEncoder:
    """The text encoder of a config, its weights as transformers initialises them."""
    return TextEncoder(config)


def clip_config(config: TextConfig) -> CLIPTextConfig:
    """The same architecture in transformers' words."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        projection_dim=config.projection or config.width,
        num_hidden_layers=config.layers - config.absent,
        num_attention_heads=config.heads,
        max_position_embeddings=config.length,
        hidden_act=config.activation,
        bos_token_id=config.start_id,
        eos_token_id=config.end_id,
        pad_token_id=config.pad_id,
    )
