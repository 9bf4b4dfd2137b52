"""Which checkpoints a network fits: by its words, by widths and names of its layers, by metadata. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from webui.checkpoints.detect import CONFIG_KEY
from webui.checkpoints.header import Header
from webui.networks.keys import Layer
from webui.networks.kinds import Shapes, kind_of
from webui.networks.names import UNET, LayerNames, part_of
from webui.nn.config import SD15, SDXL
from webui.schema.errors import ModelError

FAMILY_NAMES: Mapping[str, str] = {
    "sd1": "SD 1.x",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "sdxl_refiner": "the SDXL refiner",
    "sd2_x4": "the x4 upscaler",
}
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "Flux": ("double_blocks", "single_blocks", "single_transformer_blocks"),
    "Stable Diffusion 3": ("joint_blocks", "lora_te3", "text_encoder_3"),
}
"""Models that are not drawn with here -> what stands in the names of their networks."""
CONTEXT_WIDTHS: Mapping[int, str] = {768: "sd1", 1024: "sd2", 1280: "sdxl_refiner", 2048: "sdxl"}
"""Channels of the text that a U-Net reads -> its family."""
TEXT_WIDTHS: Mapping[int, str] = {768: "sd1", 1024: "sd2"}
OTHER = "another kind of model"
OTHER_STARTS = ("transformer.", "lora_transformer_", "diffusion_model.layers.", "diffusion_model.blocks.")


def check_family(name: str, kind: str, fits: str, family: str) -> None:
    """Let a network of a kind ("LoRA") pass that fits the loaded model's family, or does not tell what it `fits`.

    Raises:
        ModelError: with both families.
    """
    if fits and fits != family:
        fit, loaded = FAMILY_NAMES.get(fits, fits), FAMILY_NAMES.get(family, family)
        raise ModelError(
            f'"{name}" is a {kind} for {fit}, the loaded model is {loaded}.',
            "Take it out of the prompt: such models are not drawn with here."
            if fits in FOREIGN or fits == OTHER
            else f"Choose a checkpoint of {fit}, or take it out of the prompt.",
        )


def family_of(header: Header, layers: Sequence[Layer], beside: Mapping[str, Any]) -> str:
    """The family of the checkpoints that a file fits, "" where it does not tell.

    layers: those of a known kind; beside: the JSON object of the file beside it, in A1111's words.
    """
    said = header.object(CONFIG_KEY).get("family")
    if isinstance(said, str) and said:
        return said
    return _foreign(header.tensors) or _by_layers(header, layers) or _by_words(header.metadata, beside)


def shapes_of(header: Header, layer: Layer) -> Shapes:
    """Part -> shape, of one layer."""
    return {part: header.tensors[key].shape for part, key in layer.parts.items()}


def _foreign(names: Iterable[str]) -> str:
    names = list(names)
    known = next((family for family, marks in FOREIGN.items() if any(m in n for n in names for m in marks)), "")
    return known or (OTHER if any(name.startswith(OTHER_STARTS) for name in names) else "")


def _by_layers(header: Header, layers: Sequence[Layer]) -> str:
    """By the width of what cross-attention reads, a second text encoder, blocks that SDXL alone has, or the width of
    the text encoder: SD 1.x's is 768 wide, SD 2.x's 1024."""
    if any(part_of(layer.name) == "text1" for layer in layers):
        return SDXL.family
    context = CONTEXT_WIDTHS.get(_width(header, layers, _CONTEXT) or 0)
    if context is not None:
        return context
    unet = [layer.name for layer in layers if part_of(layer.name) in (UNET, None)]
    found = {config.family: _places(LayerNames.of(config), unet) for config in (SD15, SDXL)}
    if found[SDXL.family] > found[SD15.family]:
        return SDXL.family
    text = _width(header, [layer for layer in layers if part_of(layer.name) == "text0"], _TEXT)
    return TEXT_WIDTHS.get(text or 0, "")


_CONTEXT = ("attn2.to_k", "attn2_to_k", "attn2.to_v", "attn2_to_v", "attn2.processor.to_k", "attn2.processor.to_v")
_TEXT = ("q_proj", "k_proj", "v_proj", "mlp_fc1", "mlp.fc1")


def _width(header: Header, layers: Sequence[Layer], ends: tuple[str, ...]) -> int | None:
    """How wide the input is of the first layer that ends so and whose shapes tell it."""
    for layer in layers:
        if layer.name.endswith(ends) and (found := kind_of(layer)) is not None:
            width = found[0].inputs(shapes_of(header, layer))
            if width is not None:
                return width
    return None


def _places(names: LayerNames, layers: Sequence[str]) -> int:
    return sum(names.find(layer) is not None for layer in layers)


def _by_words(metadata: Mapping[str, str], beside: Mapping[str, Any]) -> str:
    """As trainers, modelspec and A1111's file beside the network name it."""
    said = (metadata.get("ss_base_model_version"), metadata.get("modelspec.architecture"), beside.get("sd version"))
    words = [str(word or "").lower() for word in said]
    return next((family for family, starts in _WORDS if any(word.startswith(starts) for word in words)), "")


_WORDS = (
    ("sdxl", ("sdxl", "stable-diffusion-xl")),
    ("sd2", ("sd_v2", "sd2", "stable-diffusion-v2")),
    ("sd1", ("sd_v1", "sd1", "stable-diffusion-v1")),
)
