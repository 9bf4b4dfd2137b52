"""What a network file is, from its header: kinds, spelling, family, trigger words. No torch, no weights are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.kinds import NETWORKS, wrong_kind
from webui.networks.family import FAMILY_NAMES, family_of, shapes_of
from webui.networks.keys import layers_of
from webui.networks.kinds import kind_of, label

TRIGGERS = 12
"""Tags of the training pictures that are shown as trigger words, where the author names none."""


@dataclass(frozen=True)
class NetworkInfo:
    """A network file. kinds: of its layers, the most frequent first; style: how it spells names; family: of the
    checkpoints it fits, "" where it does not tell; keys: tensors in the file; unread: those of no known kind."""

    kinds: tuple[str, ...]
    style: str
    family: str
    keys: int
    unread: tuple[str, ...] = field(default=(), repr=False)
    alias: str = ""
    triggers: tuple[str, ...] = ()
    weight: float | None = None
    notes: str = ""

    @property
    def kind(self) -> str:
        return self.kinds[0]

    @property
    def family_name(self) -> str:
        return FAMILY_NAMES.get(self.family, self.family)


def detect_network(header: Header, beside: Mapping[str, Any] | None = None) -> NetworkInfo:
    """What a file is. beside: the JSON object of the file beside it, in A1111's words.

    Raises:
        ModelError: it changes no layer in a known way; the message says what it looks like.
    """
    beside = beside or {}
    known = [(layer, found) for layer in layers_of(header.tensors) if (found := kind_of(layer)) is not None]
    if not known or any(map(_of_other_kinds, header.tensors)):
        raise wrong_kind(header, "network", NETWORKS, _LORA)
    labels = Counter(label(kind, shapes_of(header, layer)) for layer, (kind, _used) in known)
    read = {layer.parts[part] for layer, (_kind, used) in known for part in used}
    layers = [layer for layer, _found in known]
    return NetworkInfo(
        tuple(name for name, _count in labels.most_common()),
        style_of(header.tensors),
        family_of(header, layers, beside),
        len(header.tensors),
        tuple(key for key in header.tensors if key not in read),
        header.metadata.get("ss_output_name", ""),
        _triggers(header, beside),
        _number(beside.get("preferred weight")),
        str(beside.get("notes") or beside.get("description") or ""),
    )


def _of_other_kinds(key: str) -> bool:
    """Whether a tensor belongs to a kind of file that may hold LoRAs beside what it is: adapters, modules for video."""
    return key.startswith(("ip_adapter.", "image_proj.")) or "motion_modules." in key


def style_of(keys: Iterable[str]) -> str:
    """How most names are spelled: "kohya", "kohya (ldm)", "diffusers", "peft" or "ldm"."""
    counts = Counter(next((style for style, starts in _STYLES if key.startswith(starts)), "bare") for key in keys)
    style = counts.most_common(1)[0][0] if counts else ""
    return "kohya (ldm)" if style == "kohya" and any("input_blocks_" in key for key in keys) else style


_LORA = "Put a LoRA, LoHa, LoKr or another network of Stable Diffusion into models/Lora."
_STYLES = (
    ("kohya", ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "oft_unet_", "lycoris_")),
    ("diffusers", ("unet.", "text_encoder.", "text_encoder_2.")),
    ("peft", ("base_model.model.",)),
    ("ldm", ("diffusion_model.", "model.diffusion_model.", "clip_l.", "clip_g.", "text_encoders.")),
)


def _triggers(header: Header, beside: Mapping[str, Any]) -> tuple[str, ...]:
    """The author's words, else the most frequent tags of the training pictures."""
    named = beside.get("activation text") or header.metadata.get("modelspec.trigger_phrase")
    if named:
        return tuple(word for word in (part.strip() for part in str(named).split(",")) if word)
    counts: Counter[str] = Counter()
    for tags in header.object("ss_tag_frequency").values():
        if isinstance(tags, dict):
            counts.update({str(tag).strip(): count for tag, count in tags.items() if isinstance(count, int)})
    return tuple(tag for tag, _count in counts.most_common(TRIGGERS))


def _number(value: Any) -> float | None:
    """A1111 writes 0 for "not set"."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value else None
