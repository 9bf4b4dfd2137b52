"""The kinds of change a network file may hold for a layer, told by its parts, and what their shapes say. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from webui.networks.keys import Layer

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Part -> shape."""

_ADDED = ("alpha", "scalar", "dora_scale", "magnitude", "diff_b")
"""Parts that stand beside those of several kinds."""


@dataclass(frozen=True)
class Kind:
    """A way of changing a weight. name: as pages show it; needs: sets of parts of which each must be there in one of
    its forms; may: further parts. inputs: the width of the layer's input, where shapes tell it."""

    id: str
    name: str
    needs: tuple[tuple[tuple[str, ...], ...], ...]
    may: tuple[str, ...] = ()
    inputs: Callable[[Shapes], int | None] = lambda shapes: None

    def used(self, parts: Mapping[str, str]) -> frozenset[str] | None:
        """Those of the parts that this kind reads; None where it is another kind."""
        forms = [next((form for form in need if all(part in parts for part in form)), None) for need in self.needs]
        if None in forms:
            return None
        needed = {part for form in forms if form is not None for part in form}
        return frozenset(needed | {part for part in self.may if part in parts})


def _second(part: str) -> Callable[[Shapes], int | None]:
    """The second side of a part that is there."""
    return lambda shapes: shapes[part][1] if len(shapes.get(part, ())) > 1 else None


def _lokr_inputs(shapes: Shapes) -> int | None:
    first = shapes.get("lokr_w1") or shapes.get("lokr_w1_b") or ()
    second = shapes.get("lokr_w2") or shapes.get("lokr_w2_b") or ()
    return first[1] * second[1] if len(first) > 1 and len(second) > 1 else None


KINDS = (
    Kind("lora", "LoRA", ((("up", "down"),),), ("mid", "up_bias", *_ADDED), _second("down")),
    Kind("loha", "LoHa", ((("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),), ("hada_t1", "hada_t2", *_ADDED),
         _second("hada_w1_b")),
    Kind("lokr", "LoKr", ((("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")), (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))),
         ("lokr_t2", *_ADDED), _lokr_inputs),
    Kind("glora", "GLoRA", ((("a1", "a2", "b1", "b2"),),), ("bm", "alpha", "scalar", "diff_b"), _second("b2")),
    Kind("oft", "OFT", ((("oft_blocks",), ("oft_R",)),), ("rescale", "alpha", "diff_b")),
    Kind("boft", "BOFT", ((("boft_R", "boft_s"),),), ("diff_b",)),
    Kind("ia3", "IA3", ((("ia3_l",), ("weight", "on_input")),)),
    Kind("norm", "norm", ((("w_norm",),),), ("b_norm",)),
    Kind("full", "full difference", ((("diff",), ("diff_b",)),), ("diff", "diff_b"), _second("diff")),
)  # fmt: skip
BY_ID: Mapping[str, Kind] = {kind.id: kind for kind in KINDS}


def kind_of(layer: Layer) -> tuple[Kind, frozenset[str]] | None:
    """The kind of a layer's change, and the parts that it reads; None where parts are missing."""
    return next(((kind, used) for kind in KINDS if (used := kind.used(layer.parts)) is not None), None)


def label(kind: Kind, shapes: Shapes) -> str:
    """The name that people give it, which for some kinds is the shapes' to say."""
    if "dora_scale" in shapes or "magnitude" in shapes:
        return "DoRA" if kind.id == "lora" else f"{kind.name} (DoRA)"
    if kind.id == "lora" and math.prod(shapes.get("mid", shapes["down"])[2:]) > 1:
        return "LoCon"
    if kind.id == "oft" and len(shapes.get("oft_blocks", ())) == 4:
        return "BOFT"
    return kind.name
