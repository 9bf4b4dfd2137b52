"""Small checkpoints with random weights, for tests of whatever needs a model file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.midas import midas_names
from webui.nn.config import SD15, SD21, SDXL, X4_UPSCALER, ModelConfig, TextConfig, with_extra
from webui.nn.depth import build_depth
from webui.nn.depth_config import DepthConfig
from webui.nn.text import build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE
from webui.prompt.tokenize import END, START, byte_letters

WORDS = ("a", "red", "blue", "ball", "cat", "dog", "of", "photo", "house", ",")
TEXT_PREFIXES = {
    "sd1": ("cond_stage_model.transformer.",),
    "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}


def word_tokenizer(words: Iterable[str] = WORDS) -> dict[str, Any]:
    """A tokenizer in the form of a checkpoint's header: bytes, and each word put together letter by letter."""
    letters = byte_letters()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in words:
        built = word[0]
        for index, letter in enumerate(word[1:], start=2):
            last = f"{letter}</w>" if index == len(word) else letter
            merge = f"{built} {last}"
            built += last
            if merge not in merges:
                merges.append(merge)
                pieces.append(built)
    pieces = [*dict.fromkeys(pieces), START, END]
    return {"vocab": {piece: index for index, piece in enumerate(pieces)}, "merges": merges}


def tiny_config(family: str = "sd1", vocabulary: int = 600) -> ModelConfig:
    """A model of a family ("sd1", "sd2", "sdxl") with about 300 000 weights, for pictures of 64 pixels a side."""
    base = {"sd1": SD15, "sd2": SD21, "sdxl": SDXL}[family]
    texts = tuple(_tiny_text(text, vocabulary) for text in base.texts)
    heads = {"num_heads": 2, "head_dim": None} if base.unet.num_heads else {"num_heads": None, "head_dim": 8}
    pooled = sum(text.projection or 0 for text in texts if text.pooled)
    unet = replace(
        base.unet, model_channels=16, channel_mult=(1, 2), num_res_blocks=1, transformer_depth=(0, 1),
        transformer_depth_middle=1, context_dim=sum(text.width for text in texts), norm_groups=4,
        adm_channels=pooled + 6 * 256 if pooled else None, **heads,
    )  # fmt: skip
    vae = replace(base.vae, channels=8, channel_mult=(1, 1, 1, 2), num_res_blocks=1, norm_groups=4)
    return replace(base, unet=unet, vae=vae, texts=texts, native_size=64)


def tiny_depth() -> DepthConfig:
    """A depth estimator for pictures of 64 pixels a side."""
    return DepthConfig(
        size=64, stem=32, stages=(128, 128, 128), depths=(1, 1, 1), width=64, heads=1, mlp_width=32, neck=(32, 48),
        fusion=32,
    )  # fmt: skip


def tiny_depth_model() -> ModelConfig:
    """A depth model with its estimator; its file is one of the family "sd2"."""
    return replace(with_extra(tiny_config("sd2"), "depth"), depth=tiny_depth())


def tiny_upscaler() -> ModelConfig:
    """An x4 upscaler; its file is one of the family "sd2"."""
    plain = tiny_config("sd2")
    unet = replace(plain.unet, in_channels=7, num_classes=1000, cross_only=(True, False))
    vae = replace(plain.vae, channel_mult=(1, 1, 2), scale_factor=X4_UPSCALER.vae.scale_factor)
    return replace(X4_UPSCALER, unet=unet, vae=vae, texts=plain.texts, native_size=64)


def write_tiny_checkpoint(
    path: Path,
    family: str = "sd1",
    words: Iterable[str] = WORDS,
    seed: int = 0,
    config: ModelConfig | None = None,
    dtype: torch.dtype = torch.float32,
    header: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Write a checkpoint of random weights, with config and tokenizer in its header; returns its config.

    words: what the tokenizer knows as one token each. header: further metadata; None as a value leaves a key out.
    """
    tokenizer = word_tokenizer(words)
    config = config or _with_tokenizer(tiny_config(family), tokenizer)
    metadata: dict[str, Any] = {
        "atelier.config": config.to_json(),
        "atelier.tokenizer": tokenizer,
        "atelier.about": {"hint": "A tiny model of noise.", "examples": ["a red ball"], "settings": {"cfg_scale": 5.5}},
        **(header or {}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {key: json.dumps(value) for key, value in metadata.items() if value is not None}
    save_file(tiny_tensors(config, family, seed, dtype), path, texts)
    return config


def tiny_tensors(config: ModelConfig, family: str, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random weights, none of them zero, under the names of the family's files."""
    tensors = _named("model.diffusion_model.", random_weights(UNet(config.unet), seed))
    tensors |= _named("first_stage_model.", random_weights(VAE(config.vae), seed + 1))
    for index, (prefix, text) in enumerate(zip(TEXT_PREFIXES[family], config.texts, strict=True)):
        state = random_weights(build_text(text), seed + 2 + index)
        tensors |= _named(prefix, openclip_names(state) if prefix.endswith("model.") else state)
    if config.depth is not None:
        tensors |= _named("depth_model.model.", midas_names(random_weights(build_depth(config.depth), seed + 5)))
    return {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}


def random_weights(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """The module's state with every tensor drawn anew: matrices keep the size of signals, norms stand near 1."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, tensor, generator) for name, tensor in module.state_dict().items()}


def openclip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names of a text encoder -> OpenCLIP's, query, key and value as one tensor (written out by hand)."""
    found: dict[str, Tensor] = {
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "ln_final.weight": state["text_model.final_layer_norm.weight"],
        "ln_final.bias": state["text_model.final_layer_norm.bias"],
    }
    if "text_projection.weight" in state:
        found["text_projection"] = state["text_projection.weight"].T
    layers = {name.split(".")[3] for name in state if name.startswith("text_model.encoder.layers.")}
    for layer in layers:
        old, new = f"text_model.encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            qkv = [state[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{new}attn.in_proj_{kind}"] = torch.cat(qkv)
            found[f"{new}attn.out_proj.{kind}"] = state[f"{old}self_attn.out_proj.{kind}"]
            found[f"{new}ln_1.{kind}"] = state[f"{old}layer_norm1.{kind}"]
            found[f"{new}ln_2.{kind}"] = state[f"{old}layer_norm2.{kind}"]
            found[f"{new}mlp.c_fc.{kind}"] = state[f"{old}mlp.fc1.{kind}"]
            found[f"{new}mlp.c_proj.{kind}"] = state[f"{old}mlp.fc2.{kind}"]
    return found


def _tiny_text(text: TextConfig, vocabulary: int) -> TextConfig:
    return replace(
        text, vocab_size=vocabulary, width=16, layers=3, heads=2, mlp_width=32,
        projection=text.projection and 12, start_id=vocabulary - 2, end_id=vocabulary - 1,
    )  # fmt: skip


def _with_tokenizer(config: ModelConfig, tokenizer: Mapping[str, Any]) -> ModelConfig:
    vocab = tokenizer["vocab"]
    texts = (replace(text, vocab_size=len(vocab), start_id=vocab[START], end_id=vocab[END]) for text in config.texts)
    return replace(config, texts=tuple(texts))


def _named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def _random(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(tensor.shape, generator=generator)
    if tensor.ndim < 2:
        return 1 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn
    if "embedding" in name:
        return drawn
    return drawn / tensor[0].numel() ** 0.5
