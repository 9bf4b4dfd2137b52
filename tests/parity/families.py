"""Checkpoints of every family with random weights, as diffusers and transformers build, save and run them.

`shrunk` keeps what a family is told by (the width of the text, every level, every kind of layer) and makes the rest
small. All parameters are drawn: a convolution that starts at zero would agree with anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    DPTConfig,
    DPTForDepthEstimation,
)  # fmt: skip

from tests.midas import midas_names
from tests.nn.weights import draw, drawn
from tests.parity.test_nn_unet import diffusers_name as unet_name
from tests.parity.test_nn_vae import diffusers_name as vae_name
from tests.published import PUBLISHED, Published
from tests.support import openclip_names, word_tokenizer
from webui.checkpoints.load import LoadedModel
from webui.nn.blocks import timestep_embedding
from webui.nn.config import ModelConfig
from webui.nn.unet import UNet
from webui.nn.vae import VAE

TIMESTEPS = torch.tensor([3.0, 901.0])
TOKENIZER = word_tokenizer()
WIDTH = 64
"""Channels of a shrunk U-Net's first level; heads have as many."""


SMALL_DEPTH: dict[str, Any] = {
    "image_size": 64, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 64, "fusion_hidden_size": 64,
    "neck_hidden_sizes": [128, 128, 64, 64], "backbone_featmap_shape": [1, 128, 4, 4],
    "backbone_config": {"hidden_sizes": [128, 128, 128], "depths": [1, 1, 2], "embedding_size": 32,
                        "global_padding": "same", "layer_type": "bottleneck", "embedding_dynamic_padding": True,
                        "out_features": ["stage1", "stage2", "stage3"]},
}  # fmt: skip
"""What makes a depth estimator small."""


@dataclass(frozen=True)
class Theirs:
    """The models of a family as diffusers and transformers have them; texts by their folder."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    texts: Mapping[str, nn.Module]
    depth: DPTForDepthEstimation | None = None

    @property
    def parts(self) -> dict[str, Any]:
        """All of them by their folder."""
        depth = {} if self.depth is None else {"depth_estimator": self.depth}
        return {"unet": self.unet, "vae": self.vae, **self.texts, **depth}


def shrunk(name: str) -> Published:
    """A family with small parts, known by the same marks."""
    known = PUBLISHED[name]
    mults = (1, 1, 2, 2)[-len(known.unet["block_out_channels"]) :]
    widths = [WIDTH * mult for mult in mults]
    unet = {**known.unet, "block_out_channels": widths}
    if isinstance(unet["attention_head_dim"], list):
        unet["attention_head_dim"] = list(mults)
    if "transformer_layers_per_block" in unet:
        layers = unet["transformer_layers_per_block"]
        unet["transformer_layers_per_block"] = [1, 1, 2] if isinstance(layers, list) else 2
    vae = {**known.vae, "block_out_channels": [32, 32, 64, 64][-len(known.vae["block_out_channels"]) :]}
    words = len(TOKENIZER["vocab"])
    small = {
        "num_hidden_layers": 2, "intermediate_size": 64, "vocab_size": words, "bos_token_id": words - 2,
        "eos_token_id": words - 1,
    }  # fmt: skip
    texts = {folder: {**text, **small} for folder, text in known.texts.items()}
    return replace(known, unet=unet, vae=vae, texts=texts, depth={**known.depth, **SMALL_DEPTH} if known.depth else {})


def build(known: Published) -> Theirs:
    """The models of a family with random weights."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**known.unet), AutoencoderKL(**known.vae)
        texts = {folder: text_class(folder)(CLIPTextConfig(**config)) for folder, config in known.texts.items()}
        depth = DPTForDepthEstimation(DPTConfig(**known.depth)) if known.depth else None
    theirs = Theirs(unet, vae, texts, depth)
    for seed, module in enumerate(theirs.parts.values()):
        draw_weights(module, seed)
    if depth is not None:  # its last layer is a ReLU: nothing would be seen below it
        depth.head.head[4].bias.fill_(3.0)
    return theirs


def draw_weights(module: nn.Module, seed: int) -> None:
    """Give a module that was built on the meta device its weights, one generator for all of them."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: drawn(name, torch.randn(parameter.shape, generator=generator))
        for name, parameter in module.named_parameters()
    }
    for name, buffer in module.named_buffers():  # the position ids
        parent = module.get_submodule(name.rpartition(".")[0])
        parent.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1])[None], persistent=False)
    module.requires_grad_(False).eval().load_state_dict(state, assign=True, strict=False)


def text_class(folder: str) -> Any:
    """transformers' class for a text encoder's folder."""
    return CLIPTextModelWithProjection if folder == "text_encoder_2" else CLIPTextModel


def save_folder(theirs: Theirs, known: Published, path: Path, **options: Any) -> Path:
    """A folder as diffusers saves it. options: of `save_pretrained` (variant, max_shard_size)."""
    for folder, module in theirs.parts.items():
        module.save_pretrained(path / folder, **options)
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(known.scheduler))
    (path / "model_index.json").write_text(json.dumps({"_class_name": known.pipeline, "_diffusers_version": "0.42"}))
    if known.texts[next(iter(known.texts))].get("vocab_size"):
        (path / "tokenizer").mkdir()
        (path / "tokenizer" / "vocab.json").write_text(json.dumps(TOKENIZER["vocab"]))
        (path / "tokenizer" / "merges.txt").write_text("\n".join(["#version: 0.2", *TOKENIZER["merges"]]))
    return path


def ldm_tensors(theirs: Theirs, known: Published, config: ModelConfig) -> dict[str, Tensor]:
    """The weights under the names of the ldm single file. config: the architecture of their modules."""
    tensors = _named("model.diffusion_model.", _unet_tensors(theirs.unet, config))
    tensors |= _named("first_stage_model.", _vae_tensors(theirs.vae, config))
    for prefix, module in zip(known.prefixes, theirs.texts.values(), strict=True):
        state = {f"text_model.{name.removeprefix('text_model.')}": one for name, one in module.state_dict().items()}
        if "text_model.text_projection.weight" in state:
            state["text_projection.weight"] = state.pop("text_model.text_projection.weight")
        if prefix.endswith("model."):
            state = openclip_names(_with_last_layer(state) if "text_projection.weight" not in state else state)
        tensors |= _named(prefix, state)
    if theirs.depth is not None:
        tensors |= _named("depth_model.model.", midas_names(theirs.depth.state_dict()))
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def save_ldm(theirs: Theirs, known: Published, config: ModelConfig, path: Path, dtype: torch.dtype) -> Path:
    """The ldm single file, whose header has the small tokenizer and says nothing of the architecture."""
    tensors = {name: tensor.to(dtype) for name, tensor in ldm_tensors(theirs, known, config).items()}
    save_file(tensors, path, {"atelier.tokenizer": json.dumps(TOKENIZER)})
    return path


def _unet_tensors(unet: nn.Module, config: ModelConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        names = UNet(config.unet).state_dict()
    theirs = unet.state_dict()
    return {
        name: theirs["class_embedding.weight" if name == "label_emb.weight" else unet_name(name, config.unet)]
        for name in names
    }


def _vae_tensors(vae: nn.Module, config: ModelConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in VAE(config.vae).state_dict().items()}
    theirs = vae.state_dict()
    return {name: theirs[vae_name(name, config.vae)].reshape(shape) for name, shape in shapes.items()}


def _with_last_layer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SD 2.x's ldm files hold a last layer that is not read; diffusers' encoder comes without it."""
    count = len({name.split(".")[3] for name in state if ".layers." in name})
    last = f"text_model.encoder.layers.{count - 1}."
    added = {
        name.replace(last, f"text_model.encoder.layers.{count}."): one + 1
        for name, one in state.items()
        if last in name
    }
    return {**state, **added}


def _named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def given_to(known: Published, config: ModelConfig, size: int = 16) -> dict[str, Tensor]:
    """What both are asked: x with its further channels, ids (2 77), numbers beside the text, a picture, a latent z."""
    text = config.texts[0]
    ids = torch.full((2, text.length), text.pad_id)
    for row, words in enumerate((4, 60)):
        generator = torch.Generator().manual_seed(row)
        ids[row, : words + 2] = torch.tensor(
            [text.start_id, *torch.randint(1, text.start_id, (words,), generator=generator).tolist(), text.end_id]
        )
    numbers = {2816: [[1024, 768, 0, 0, 1024, 768], [512, 512, 8, 0, 640, 512]], 2560: [[1024, 768, 0, 0, 6.0]] * 2}
    f = config.vae.downscale
    return {
        "x": draw(2, config.unet.in_channels, size, size),
        "ids": ids,
        "numbers": torch.tensor(numbers.get(config.unet.adm_channels or 0, [[20], [350]])),
        "picture": draw(1, 3, 8 * f, 6 * f, seed=4),
        "z": draw(1, 4, 8, 6, seed=5),
    }


@torch.no_grad()
def their_answers(theirs: Theirs, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Text, U-Net and autoencoder as diffusers' pipelines call them."""
    answers = text_answers(theirs.texts, given["ids"])
    answers["unet"] = unet_answer(theirs.unet, answers, given)
    return answers | vae_answers(theirs.vae, given)


def text_answers(texts: Mapping[str, nn.Module], ids: Tensor) -> dict[str, Tensor]:
    """ids (2 77) -> context (2 77 d), and pooled (2 d) where an encoder has it."""
    states = [text(ids, output_hidden_states=True) for text in texts.values()]
    pooled = states[-1].text_embeds if "text_embeds" in states[-1] else None
    hidden = [state.last_hidden_state if pooled is None else state.hidden_states[-2] for state in states]
    context = {"context": torch.cat(hidden, dim=-1)}
    return context if pooled is None else {**context, "pooled": pooled}


def unet_answer(unet: UNet2DConditionModel, text: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Tensor:
    """(2 c h w)."""
    beside: dict[str, Any] = {}
    if "pooled" in text:
        beside["added_cond_kwargs"] = {"text_embeds": text["pooled"], "time_ids": given["numbers"]}
    elif unet.config.num_class_embeds:
        beside["class_labels"] = given["numbers"].flatten()
    answer: Tensor = unet(given["x"], TIMESTEPS, text["context"], **beside).sample
    return answer


def vae_answers(vae: AutoencoderKL, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of the encoded picture, and the picture of a latent."""
    encoded = vae.encode(given["picture"]).latent_dist.mean
    return {"encoded": encoded, "decoded": vae.decode(given["z"]).sample}


@torch.no_grad()
def our_answers(model: LoadedModel, given: Mapping[str, Tensor], release: bool = False) -> dict[str, Tensor]:
    """The same of ours, each module in float32. release: let each go when it has answered."""
    states = []
    for text in model.texts:
        states.append(text.float()(given["ids"]))
        if release:
            text.to("meta")
    pooled = next((state.pooled for state in states if state.pooled is not None), None)
    context, y = torch.cat([state.hidden for state in states], dim=-1), None
    if pooled is not None:
        sizes = timestep_embedding(given["numbers"].flatten(), 256, pooled.dtype)
        y = torch.cat([pooled, sizes.view(len(pooled), -1)], dim=1)
    elif model.config.unet.num_classes:
        y = given["numbers"].flatten()
    answers = {"context": context, "unet": model.unet.float()(given["x"], TIMESTEPS, context, y)}
    if release:
        model.unet.to("meta")
    vae = model.vae.float()
    answers |= {"encoded": vae.encode(given["picture"]).mean, "decoded": vae.decode(given["z"])}
    return answers if pooled is None else {**answers, "pooled": pooled}
