"""Where a checkpoint keeps the parts of a model, and by which names.

U-Net and autoencoder have the names of our modules (ldm's). Text encoders come in two forms: transformers' names, which
are our module's, and OpenCLIP's, whose query, key and value stand in one tensor and whose projection is transposed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import count, takewhile

UNET = "model.diffusion_model."
VAE = "first_stage_model."


@dataclass(frozen=True)
class Source:
    """A tensor of a module, as a file holds it: the name there, which third of its rows (of three), turned or not."""

    name: str
    third: int | None = None
    transposed: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in the module of a tensor of `shape` in the file."""
        if self.third is not None:
            shape = (shape[0] // 3, *shape[1:])
        return shape[::-1] if self.transposed else shape


Layout = Callable[[str], Source]
"""Name in our text encoder -> where the file has it."""


def transformers_text(prefix: str) -> Layout:
    """A text encoder with transformers' names behind a prefix."""
    return lambda name: Source(prefix + name)


def older_transformers_text(prefix: str) -> Layout:
    """The same as the first files of SD 1.x have it, written by an older transformers."""
    return lambda name: Source(prefix + name.removeprefix("text_model."))


def openclip_text(prefix: str) -> Layout:
    """A text encoder with OpenCLIP's names behind a prefix."""

    def find(name: str) -> Source:
        if name in _OPENCLIP_NAMES:
            return Source(prefix + _OPENCLIP_NAMES[name], transposed=name == "text_projection.weight")
        layer = _LAYER.fullmatch(name)
        if layer is None:
            return Source(prefix + name)
        block = f"{prefix}transformer.resblocks.{layer['index']}."
        if layer["part"] in _QKV:
            return Source(f"{block}attn.in_proj_{layer['kind']}", _QKV.index(layer["part"]))
        return Source(f"{block}{_OPENCLIP_PARTS[layer['part']]}.{layer['kind']}")

    return find


def text_layouts(names: Iterable[str]) -> tuple[Layout, ...]:
    """The layouts of the text encoders among these tensor names, in the order in which the U-Net reads them."""
    names = frozenset(names)
    found = (_text_layout(prefixes, names) for prefixes in TEXT_PLACES)
    return tuple(layout for layout in found if layout is not None)


def text_shapes(layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Name in our text encoder -> shape there, of those tensors that tell its architecture; `shapes` is the file's."""
    present = {name: layout(name) for name in TELLING if layout(name).name in shapes}
    return {name: source.shape(shapes[source.name]) for name, source in present.items()}


def text_layers(layout: Layout, names: Container[str]) -> int:
    """How many layers a text encoder has in a file."""
    norms = (layout(f"text_model.encoder.layers.{index}.layer_norm1.weight").name for index in count())
    return sum(1 for _ in takewhile(lambda name: name in names, norms))


TOKENS = "text_model.embeddings.token_embedding.weight"
POSITIONS = "text_model.embeddings.position_embedding.weight"
MLP = "text_model.encoder.layers.0.mlp.fc1.weight"
PROJECTION = "text_projection.weight"
TELLING = (TOKENS, POSITIONS, MLP, PROJECTION)

TEXT_PLACES: tuple[tuple[tuple[str, Callable[[str], Layout]], ...], ...] = (
    (
        ("cond_stage_model.transformer.", transformers_text),
        ("cond_stage_model.transformer.", older_transformers_text),
        ("cond_stage_model.model.", openclip_text),
        ("conditioner.embedders.0.transformer.", transformers_text),
        ("conditioner.embedders.0.model.", openclip_text),
    ),
    (
        ("conditioner.embedders.1.model.", openclip_text),
        ("conditioner.embedders.1.transformer.", transformers_text),
    ),
)
"""For the first and the second text encoder: the prefixes it may have, and the names behind each."""

_OPENCLIP_NAMES = {
    TOKENS: "token_embedding.weight",
    POSITIONS: "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    PROJECTION: "text_projection",
}
_LAYER = re.compile(r"text_model\.encoder\.layers\.(?P<index>\d+)\.(?P<part>.+)\.(?P<kind>weight|bias)")
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_OPENCLIP_PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def _text_layout(places: Iterable[tuple[str, Callable[[str], Layout]]], names: frozenset[str]) -> Layout | None:
    candidates = (layout(prefix) for prefix, layout in places)
    return next((layout for layout in candidates if layout(TOKENS).name in names), None)
