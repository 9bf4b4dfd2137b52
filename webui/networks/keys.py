"""The names of tensors in network files: which layer a tensor belongs to, and which part of the change it is.

Every trainer has its own spelling. Parts are given one name each here; layers keep the file's name, which
`webui.networks.names` finds in the model.

    lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight      kohya, LyCORIS
    unet.down_blocks.0.attentions.0.proj_in.lora_B.weight            diffusers
    base_model.model.down_blocks.0.attentions.0.proj_in.lora_B.weight    peft
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "down": (".lora_down.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",
             ".lora_A.weight"),
    "up": (".lora_up.weight", ".lora.up.weight", "_lora.up.weight", ".lora_linear_layer.up.weight", ".lora_B.weight"),
    "mid": (".lora_mid.weight",),
    "up_bias": (".lora_up.bias", ".lora_B.bias"),
    "alpha": (".alpha",),
    "scalar": (".scalar",),
    "dora_scale": (".dora_scale",),
    "magnitude": (".lora_magnitude_vector.weight", ".lora_magnitude_vector"),
    **{name: (f".{name}",) for name in (
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b",
        "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "oft_blocks", "rescale", "boft_R", "boft_s", "ia3_l",
        "on_input", "diff", "diff_b", "w_norm", "b_norm",
    )},
    **{name: (f".{name}.weight",) for name in ("a1", "a2", "b1", "b2", "bm")},
    "oft_R": (".oft_R.weight", ".oft_R"),
    "weight": (".weight",),
}  # fmt: skip
"""Part -> how the names of its tensors end."""

_PARTS: Mapping[str, str] = {end: part for part, ends in SPELLINGS.items() for end in ends}
_LONGEST = max(end.count(".") for end in _PARTS)
_ADAPTER = re.compile(r"\.default(?:_\d+)?(?=\.weight$|\.bias$|$)")
_ADAPTER_MARK = ".default"
"""The name that peft gives an adapter, as it stands in states that were saved as they are."""


@dataclass(frozen=True)
class Layer:
    """What a file has for one layer. name: the layer, in the file's words; parts: part -> name of its tensor."""

    name: str
    parts: Mapping[str, str]


def split_key(key: str) -> tuple[str, str] | None:
    """(layer, part) of a tensor's name; None where it ends in no known way. The longest ending counts."""
    plain = _ADAPTER.sub("", key) if _ADAPTER_MARK in key else key
    pieces = plain.rsplit(".", _LONGEST)
    for start in range(1, len(pieces)):
        end = "." + ".".join(pieces[start:])
        # older attention processors: "to_q_lora.down.weight"
        end = f"_lora{end}" if pieces[start - 1].endswith("_lora") and f"_lora{end}" in _PARTS else end
        if end in _PARTS:
            return plain.removesuffix(end), _PARTS[end]
    return None


def layers_of(keys: Iterable[str]) -> tuple[Layer, ...]:
    """The layers of a file, in its order. Tensors that end in no known way are left out."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if (split := split_key(key)) is not None:
            found.setdefault(split[0], {})[split[1]] = key
    return tuple(Layer(name, parts) for name, parts in found.items())
