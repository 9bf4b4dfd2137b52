"""The names of all tensors that a checkpoint of some architecture has, told without torch; and what a file has beside
them, or lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import UNET, VAE, text_layouts
from webui.nn.config import ModelConfig, TextConfig, UNetConfig, VAEConfig

SCALES: Final = (".scale_weight", ".weight_scale")
"""How files in fp8 may name the number that a matrix is to be multiplied with (`X.scale_weight` for `X.weight`)."""
_KNOWN_BESIDE: Final = (
    "position_ids", "logit_scale", "attn_mask", "text_projection", "text_projection.weight", "scaled_fp8",
    "input_scale", "scale_input", *(scale[1:] for scale in SCALES),
)  # fmt: skip
"""Ends of names that published files have beside the weights."""


def unknown_names(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """The tensors of U-Net, autoencoder and text encoders that were not asked for and are of no use anywhere."""
    parts = (UNET, VAE, "cond_stage_model.", "conditioner.")
    left = (name for name in names if name.startswith(parts) and name not in taken)
    return sorted(name for name in left if not name.endswith(_KNOWN_BESIDE) and not name.startswith(f"{VAE}loss."))


def expected_names(header: Header, config: ModelConfig) -> frozenset[str]:
    """Every tensor that is read of a file with this architecture, but for a depth estimator's."""
    texts = zip(text_layouts(header.tensors), config.texts, strict=False)
    return frozenset((
        *(UNET + name for name in _unet(config.unet)),
        *(VAE + name for name in _vae(config.vae)),
        *(layout(name).name for layout, text in texts for name in _text(text)),
    ))  # fmt: skip


def _both(*layers: str) -> Iterator[str]:
    """The weight and the bias of each layer."""
    return (f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))


def _unet(config: UNetConfig) -> Iterator[str]:
    yield from _both("time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2")
    if config.adm_channels is not None:
        yield from _both("label_emb.0.0", "label_emb.0.2")
    elif config.num_classes is not None:
        yield "label_emb.weight"
    last = len(config.widths) - 1
    index, channels = 1, config.model_channels
    for level, width in enumerate(config.widths):
        for _ in range(config.res_blocks[level]):
            yield from _block(f"input_blocks.{index}", channels != width, config.transformer_depth[level])
            index, channels = index + 1, width
        if level < last:
            yield from _both(f"input_blocks.{index}.0.op")
            index += 1
    yield from _block("middle_block", False, config.transformer_depth_middle)
    yield from _res(f"middle_block.{2 if config.transformer_depth_middle else 1}", False)
    yield from _decoder(config)


def _decoder(config: UNetConfig) -> Iterator[str]:
    index = 0
    for level in reversed(range(len(config.widths))):
        depth, count = config.transformer_depth[level], config.res_blocks[level] + 1
        for number in range(count):
            block = f"output_blocks.{index}"
            yield from _block(block, True, depth)
            if level and number + 1 == count:
                yield from _both(f"{block}.{2 if depth else 1}.conv")
            index += 1


def _block(block: str, widens: bool, depth: int) -> Iterator[str]:
    """A residual block, and the transformer behind it."""
    yield from _res(f"{block}.0", widens)
    if depth:
        yield from _both(f"{block}.1.norm", f"{block}.1.proj_in", f"{block}.1.proj_out")
    for number in range(depth):
        inner = f"{block}.1.transformer_blocks.{number}"
        yield from _both(*(f"{inner}.{layer}" for layer in ("norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2")))
        for attention in (f"{inner}.attn1", f"{inner}.attn2"):
            yield from (f"{attention}.to_{letter}.weight" for letter in "qkv")
            yield from _both(f"{attention}.to_out.0")


def _res(block: str, widens: bool) -> Iterator[str]:
    layers = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    return _both(*(f"{block}.{layer}" for layer in (*layers, *(("skip_connection",) if widens else ()))))


def _vae(config: VAEConfig) -> Iterator[str]:
    if config.quant_conv:
        yield from _both("quant_conv", "post_quant_conv")
    last = len(config.widths) - 1
    wider = (*config.widths[1:], config.widths[-1])
    finer = (config.channels, *config.widths[:-1])
    for half in ("encoder", "decoder"):
        yield from _both(*(f"{half}.{layer}" for layer in ("conv_in", "norm_out", "conv_out")))
        for number in (1, 2):
            yield from _vae_res(f"{half}.mid.block_{number}", False)
        if config.attention:
            yield from _both(*(f"{half}.mid.attn_1.{layer}" for layer in ("norm", "q", "k", "v", "proj_out")))
    for level, width in enumerate(config.widths):
        for number in range(config.num_res_blocks):
            yield from _vae_res(f"encoder.down.{level}.block.{number}", not number and finer[level] != width)
        for number in range(config.num_res_blocks + 1):
            yield from _vae_res(f"decoder.up.{level}.block.{number}", not number and wider[level] != width)
        yield from _both(*([f"encoder.down.{level}.downsample.conv"] if level < last else []))
        yield from _both(*([f"decoder.up.{level}.upsample.conv"] if level else []))


def _vae_res(block: str, widens: bool) -> Iterator[str]:
    layers = ("norm1", "conv1", "norm2", "conv2", *(("nin_shortcut",) if widens else ()))
    return _both(*(f"{block}.{layer}" for layer in layers))


def _text(config: TextConfig) -> Iterator[str]:
    yield "text_model.embeddings.token_embedding.weight"
    yield "text_model.embeddings.position_embedding.weight"
    yield from _both("text_model.final_layer_norm")
    parts = (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "layer_norm1", "layer_norm2",
        "mlp.fc1", "mlp.fc2",
    )  # fmt: skip
    for number in range(config.layers - config.absent):
        yield from _both(*(f"text_model.encoder.layers.{number}.{part}" for part in parts))
    if config.projection is not None:
        yield "text_projection.weight"
