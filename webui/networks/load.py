"""A network file -> changes of the layers of one loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from webui.checkpoints.header import Header, read_header
from webui.checkpoints.load import LoadedModel
from webui.networks.changes import Change
from webui.networks.detect import NetworkInfo, detect_network
from webui.networks.family import check_family
from webui.networks.files import beside
from webui.networks.keys import Layer, layers_of
from webui.networks.kinds import kind_of
from webui.networks.names import TEXTS, UNET, LayerNames, Place
from webui.networks.peft import settings_of
from webui.schema.errors import ModelError

NAMED = 3
"""Layers that a message names before it says "and n more"."""


@dataclass(frozen=True, eq=False)
class PlacedChange:
    """A change, and where it goes; equal to itself alone. layer: its name in the file, for messages."""

    layer: str
    place: Place
    change: Change = field(repr=False)


@dataclass(frozen=True, eq=False)
class Network:
    """A file as it fits one model. matched of its `info.keys` tensors have a place there; unmatched: the others. token:
    stands for this reading of the file, and holds none of its memory."""

    name: str
    info: NetworkInfo
    changes: tuple[PlacedChange, ...] = field(repr=False)
    matched: int
    unmatched: tuple[str, ...] = field(repr=False)
    token: object = field(default_factory=object, repr=False)

    @property
    def said(self) -> str:
        """One line for the user: kind, and keys matched of keys in the file."""
        line = f"{self.name}: {', '.join(self.info.kinds)}, {self.matched} of {self.info.keys} keys matched"
        if not self.unmatched:
            return f"{line}."
        more = f" and {len(self.unmatched) - NAMED} more" if len(self.unmatched) > NAMED else ""
        return f"{line}; not used: {', '.join(self.unmatched[:NAMED])}{more}."


def model_parts(model: LoadedModel) -> dict[str, nn.Module]:
    """The modules that networks change, by the names of `webui.networks.names`."""
    return {UNET: model.unet, **dict(zip(TEXTS, model.texts, strict=False))}


def open_network(path: Path, name: str, model: LoadedModel) -> Network:
    """The changes that a file makes to a model.

    name: as the user wrote it. The tensors are read into memory: who trains a network may write the file again.

    Raises:
        ModelError: the file cannot be used, is for another family, or no layer of it is in the model.
    """
    header, said = read_header(path), beside(path)
    info = detect_network(header, said)
    check_family(name, info.kind, info.family, model.config.family)
    with safe_open(path, framework="pt", device="cpu") as file:
        changes, used = _placed(header, said, model, lambda key: file.get_tensor(key).clone())
    if not changes:
        raise ModelError(
            f'"{name}" has no layer that the loaded model has: none of its {info.keys} keys matched '
            f"({', '.join(list(header.tensors)[:NAMED])}).",
            "Is it made for this kind of checkpoint? Take it out of the prompt, or choose another checkpoint.",
        )
    return Network(name, info, tuple(changes), len(used), tuple(key for key in header.tensors if key not in used))


def _placed(
    header: Header, said: Mapping[str, Any], model: LoadedModel, read: Callable[[str], Tensor]
) -> tuple[list[PlacedChange], frozenset[str]]:
    """The changes of layers that the model has, and the names of all tensors in them."""
    names = LayerNames.of(model.config)
    parameters = {part: frozenset(dict(module.named_parameters())) for part, module in model_parts(model).items()}
    changes: list[PlacedChange] = []
    used: set[str] = set()
    for layer in layers_of(header.tensors):
        place, found = names.find(layer.name), kind_of(layer)
        if place is None or found is None or not _is_in(place, parameters):
            continue
        kind, parts = found
        wanted = parts if _has_bias(place, parameters) else parts - {"diff_b", "b_norm", "up_bias"}
        if wanted <= {"alpha", "scalar"}:
            continue
        used |= {layer.parts[part] for part in wanted}
        change = Change(kind.id, _read(layer, wanted, read), settings_of(header, said, layer.name))
        changes.append(PlacedChange(layer.name, place, change))
    return changes, frozenset(used)


def _read(layer: Layer, parts: frozenset[str], read: Callable[[str], Tensor]) -> dict[str, Tensor]:
    return {part: read(layer.parts[part]) for part in parts}


def _is_in(place: Place, parameters: Mapping[str, frozenset[str]]) -> bool:
    return all(f"{module}.weight" in parameters[place.part] for module in place.modules)


def _has_bias(place: Place, parameters: Mapping[str, frozenset[str]]) -> bool:
    return all(f"{module}.bias" in parameters[place.part] for module in place.modules)
