"""The layers of a model by all the names that network files have for them. No torch.

Our U-Nets have ldm's names, and text encoders those of transformers. Files have these, or diffusers' for the U-Net, or
OpenCLIP's for the text encoder, behind a prefix, with dots or with "_" for every dot. So names are compared with "_"
for every dot, and prefixes are tried one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from webui.nn.config import ModelConfig, TextConfig, UNetConfig

UNET = "unet"
TEXTS = ("text0", "text1")
PREFIXES: Mapping[str, tuple[str, ...]] = {
    UNET: ("lora_unet", "oft_unet", "unet", "lycoris", "model_diffusion_model", "diffusion_model", "base_model_model",
           "base_model_model_unet", ""),
    "text0": ("lora_te", "lora_te1", "oft_te", "oft_te1", "text_encoder", "te", "te1", "lycoris", "base_model_model",
              "clip_l_transformer", "clip_h_transformer", "text_encoders_clip_l_transformer",
              "text_encoders_clip_h_transformer", "cond_stage_model_transformer", "cond_stage_model_model",
              "conditioner_embedders_0_transformer", ""),
    "text1": ("lora_te2", "oft_te2", "text_encoder_2", "te2", "clip_g_transformer", "text_encoders_clip_g_transformer",
              "conditioner_embedders_1_model"),
}  # fmt: skip
"""Part of a model -> what may stand before the name of its layer."""

Modules = tuple[str, ...]
"""Names of our modules; more than one where the file has query, key and value as one layer."""


@dataclass(frozen=True)
class Place:
    """Where a layer of a file is in the model. part: "unet", "text0" or "text1"; modules: see `Modules`."""

    part: str
    modules: Modules


@dataclass(frozen=True)
class LayerNames:
    """All layers of a model, by part and by name with "_" for every dot."""

    parts: Mapping[str, Mapping[str, Modules]] = field(repr=False)

    @classmethod
    def of(cls, config: ModelConfig) -> LayerNames:
        parts = {UNET: dict(unet_names(config.unet))}
        parts |= {part: dict(text_names(text)) for part, text in zip(TEXTS, config.texts, strict=False)}
        return cls({part: {_flat(name): modules for name, modules in known.items()} for part, known in parts.items()})

    def find(self, name: str) -> Place | None:
        """The layer of this name in a file; None where the model has none."""
        flat = _flat(name)
        for part, known in self.parts.items():
            for prefix in PREFIXES[part]:
                rest = flat.removeprefix(f"{prefix}_") if prefix else flat
                if (rest != flat or not prefix) and rest in known:
                    return Place(part, known[rest])
        return None


def part_of(name: str) -> str | None:
    """The part of the model that a layer's name speaks of by its prefix; None where the prefix leaves it open."""
    flat = _flat(name)
    own = {part: [f"{prefix}_" for prefix in prefixes if prefix not in _SHARED] for part, prefixes in PREFIXES.items()}
    return next((part for part in ("text1", "text0", UNET) if flat.startswith(tuple(own[part]))), None)


def unet_names(config: UNetConfig) -> Iterator[tuple[str, Modules]]:
    """(name, modules) of all layers of a U-Net: by ldm's names and by diffusers'."""
    for ours, theirs in _blocks(config):
        for name in (ours, *_spellings(theirs)):
            yield name, (ours,)


def text_names(config: TextConfig) -> Iterator[tuple[str, Modules]]:
    """(name, modules) of all layers of a text encoder: by transformers' names, of now and of old, and OpenCLIP's."""
    for ours, theirs in _TEXT_OUTSIDE.items():
        yield from ((name, (ours,)) for name in (ours, ours.removeprefix("text_model."), theirs))
    for index in range(config.layers - config.absent):
        ours, theirs = f"text_model.encoder.layers.{index}", f"transformer.resblocks.{index}"
        for inside, (other, *older) in _TEXT_INSIDE.items():
            module = f"{ours}.{inside}"
            for name in (module, module.removeprefix("text_model."), f"{theirs}.{other}"):
                yield name, (module,)
            yield from ((f"{ours}.{name}", (module,)) for name in older)
        yield f"{theirs}.attn.in_proj", tuple(f"{ours}.self_attn.{one}_proj" for one in "qkv")


def _blocks(config: UNetConfig) -> Iterator[tuple[str, str]]:
    """(ldm's name, diffusers' name) of all layers of a U-Net."""
    yield from _OUTSIDE.items()
    if config.adm_channels is not None:
        yield from _ADDED.items()
    yield from _encoder(config)
    depth = config.transformer_depth_middle
    yield from _resnet("middle_block.0", "mid_block.resnets.0")
    if depth:
        yield from _transformer("middle_block.1", "mid_block.attentions.0", depth)
    yield from _resnet(f"middle_block.{2 if depth else 1}", "mid_block.resnets.1")
    yield from _decoder(config)


def _encoder(config: UNetConfig) -> Iterator[tuple[str, str]]:
    index, last = 1, len(config.widths) - 1
    for level, (count, depth) in enumerate(zip(config.res_blocks, config.transformer_depth, strict=True)):
        for block in range(count):
            yield from _resnet(f"input_blocks.{index}.0", f"down_blocks.{level}.resnets.{block}")
            yield from _transformer(f"input_blocks.{index}.1", f"down_blocks.{level}.attentions.{block}", depth)
            index += 1
        if level < last:
            yield f"input_blocks.{index}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            index += 1


def _decoder(config: UNetConfig) -> Iterator[tuple[str, str]]:
    index, last = 0, len(config.widths) - 1
    for level in range(last + 1):
        depth = config.transformer_depth[last - level]
        for block in range(config.res_blocks[last - level] + 1):
            yield from _resnet(f"output_blocks.{index}.0", f"up_blocks.{level}.resnets.{block}")
            yield from _transformer(f"output_blocks.{index}.1", f"up_blocks.{level}.attentions.{block}", depth)
            index += 1
        if level < last:
            upsampler = f"output_blocks.{index - 1}.{2 if depth else 1}.conv"
            yield upsampler, f"up_blocks.{level}.upsamplers.0.conv"


def _resnet(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for inside, other in _RESNET.items():
        yield f"{ours}.{inside}", f"{theirs}.{other}"


def _transformer(ours: str, theirs: str, depth: int) -> Iterator[tuple[str, str]]:
    """The layers of a transformer of `depth` blocks, which both name alike; none for depth 0."""
    inside = [f"transformer_blocks.{block}.{layer}" for block in range(depth) for layer in _TRANSFORMER_BLOCK]
    for layer in ("norm", "proj_in", *inside, "proj_out") if depth else ():
        yield f"{ours}.{layer}", f"{theirs}.{layer}"


def _spellings(name: str) -> Iterator[str]:
    """A diffusers name, and as its older attention processors spelled it: attn1.processor.to_q, .to_out."""
    yield name
    before, attention, projection = name.rpartition(".to_")
    if attention:
        yield f"{before}.processor.to_{projection}"
        if projection == "out.0":
            yield f"{before}.processor.to_out"
            yield f"{before}.to_out"


def _flat(name: str) -> str:
    return name.replace(".", "_")


_SHARED = ("", "lycoris", "base_model_model")
_OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_ADDED = {"label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2"}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TRANSFORMER_BLOCK = (
    *(f"{attention}.{layer}" for attention in ("attn1", "attn2") for layer in _ATTENTION),
    "ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3",
)  # fmt: skip
_TEXT_OUTSIDE = {
    "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.embeddings.position_embedding": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_projection": "text_projection",
}
_TEXT_INSIDE = {
    "self_attn.q_proj": ("attn.q_proj", "self_attn.to_q"),
    "self_attn.k_proj": ("attn.k_proj", "self_attn.to_k"),
    "self_attn.v_proj": ("attn.v_proj", "self_attn.to_v"),
    "self_attn.out_proj": ("attn.out_proj", "self_attn.to_out"),
    "layer_norm1": ("ln_1",),
    "layer_norm2": ("ln_2",),
    "mlp.fc1": ("mlp.c_fc",),
    "mlp.fc2": ("mlp.c_proj",),
}
"""Layer of a transformers block -> OpenCLIP's name of it, then older ones of transformers' place."""
