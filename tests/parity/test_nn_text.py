"""The text encoders against transformers' whole models, and against open_clip's block as torch itself has it."""

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection

from tests.nn.small import TEXTS
from tests.nn.weights import randomise, relative_error
from webui.nn.config import TextConfig
from webui.nn.text import TextEncoder, build_text, clip_config

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
ENCODERS = pytest.mark.parametrize("name", TEXTS)


def prompts(config: TextConfig) -> Tensor:
    """Two prompts of 4 and 60 words: start, words, end, padding (2 77)."""
    ids = torch.full((2, config.length), config.pad_id)
    ids[:, 0] = config.start_id
    for row, words in enumerate((4, 60)):
        ids[row, 1 : words + 1] = torch.randint(
            1, config.start_id, (words,), generator=torch.Generator().manual_seed(row)
        )
        ids[row, words + 1] = config.end_id
    return ids


def random_encoder(config: TextConfig, dtype: torch.dtype) -> TextEncoder:
    encoder = build_text(config).to(dtype)
    randomise(encoder)
    return encoder


@ENCODERS
@PRECISIONS
@pytest.mark.parametrize("skip", [None, 1, 2, 3])
@torch.no_grad()
def test_the_text_encoder_agrees_with_transformers(name: str, dtype: torch.dtype, skip: int | None) -> None:
    config, ids = TEXTS[name], prompts(TEXTS[name])
    ours = random_encoder(config, dtype)
    theirs = CLIPTextModelWithProjection(clip_config(config)).to(dtype).eval()
    theirs.load_state_dict(ours.state_dict(), strict=config.projection is not None)
    answer, expected = ours(ids, skip), theirs(ids, output_hidden_states=True)
    state = expected.hidden_states[-(skip or ours.default_skip)]
    if config.final_norm:
        state = theirs.text_model.final_layer_norm(state)
    assert relative_error(answer.hidden, state) < TOLERANCE[dtype]
    assert_varies(answer.hidden)
    if config.pooled:
        assert relative_error(answer.pooled, expected.text_embeds) < TOLERANCE[dtype]
        assert_varies(answer.pooled)


def assert_varies(answer: Tensor) -> None:
    assert answer.std() > 0.01
    assert relative_error(answer[0], answer[1]) > 0.01


@torch.no_grad()
def test_openclip_agrees_with_torchs_own_transformer_layers() -> None:
    config = TEXTS["sdxl openclip"]
    ours, ids = random_encoder(config, torch.float64), prompts(config)
    weights = ours.state_dict()
    embeddings = "text_model.embeddings"
    x = weights[f"{embeddings}.token_embedding.weight"][ids] + weights[f"{embeddings}.position_embedding.weight"]
    mask = nn.Transformer.generate_square_subsequent_mask(config.length, dtype=torch.float64)
    states = []
    for layer in range(config.layers):
        x = torch_layer(config, weights, f"text_model.encoder.layers.{layer}")(x, src_mask=mask, is_causal=True)
        states.append(x)
    norm = nn.functional.layer_norm(
        x, (config.width,), weights["text_model.final_layer_norm.weight"], weights["text_model.final_layer_norm.bias"]
    )
    ends = [row.tolist().index(config.end_id) for row in ids]
    pooled = torch.stack([norm[row, end] for row, end in enumerate(ends)]) @ weights["text_projection.weight"].T
    answer = ours(ids)
    assert relative_error(answer.hidden, states[-2]) < 1e-10
    assert relative_error(answer.pooled, pooled) < 1e-10


def torch_layer(config: TextConfig, weights: dict[str, Tensor], prefix: str) -> nn.TransformerEncoderLayer:
    """One layer of the encoder in torch's words."""
    layer = nn.TransformerEncoderLayer(
        config.width, config.heads, config.mlp_width, 0.0, "gelu", batch_first=True, norm_first=True
    ).double().eval()  # fmt: skip
    for kind in ("weight", "bias"):
        qkv = [weights[f"{prefix}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
        setattr(layer.self_attn, f"in_proj_{kind}", nn.Parameter(torch.cat(qkv)))
    names = {
        "self_attn.out_proj": "self_attn.out_proj",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
    }
    for ours, theirs in names.items():
        part = layer.get_submodule(theirs)
        part.load_state_dict({kind: weights[f"{prefix}.{ours}.{kind}"] for kind in ("weight", "bias")})
    return layer
