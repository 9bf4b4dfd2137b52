"""What the objects in a pickle are, once it is read: the tensors by name, and settings that belong to them.

torch is imported where tensors are told from other things: the names below are for everyone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NESTS = ("state_dict", "model", "module", "params_ema", "params")
"""Where training programs put the tensors inside what they save."""
WORDS = "string_to_param"
EMBEDDING = "emb_params"
"""Where textual inversion's programs put a word's vectors in a pickle, and in a safetensors file."""
HYPERNETWORK = "atelier.hypernetwork"
HYPERNETWORK_SETTINGS = ("activation_func", "activate_output", "name", "step", "sd_checkpoint_name")
"""The settings of a hypernetwork that are kept, in the header under the name above."""


def unpacked(loaded: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of what a program saved, by name, and metadata for the header of a safetensors file."""
    if isinstance(loaded, Mapping) and WORDS in loaded:
        return _embedding(loaded[WORDS]), {}
    if isinstance(loaded, Mapping) and any(_is_pair(key, value) for key, value in loaded.items()):
        said = {key: loaded[key] for key in HYPERNETWORK_SETTINGS if isinstance(loaded.get(key), (str, int, bool))}
        return dict(_hypernetwork(loaded)), {HYPERNETWORK: json.dumps(said)}
    return dict(_checkpoint(loaded)), {}


def _checkpoint(loaded: Any) -> Iterator[tuple[str, Tensor]]:
    while isinstance(loaded, Mapping):
        nest = next((key for key in NESTS if isinstance(loaded.get(key), Mapping)), None)
        if nest is None:
            break
        loaded = loaded[nest]
    if isinstance(loaded, Mapping):
        yield from ((str(name), value) for name, value in loaded.items() if _is_tensor(value))


def _embedding(words: Any) -> dict[str, Tensor]:
    """The vectors of the one word there is. The first programs have a module of torch in the place of the mapping."""
    words = getattr(words, "_parameters", words)
    vectors = [value for value in words.values() if _is_tensor(value)] if isinstance(words, Mapping) else []
    return {EMBEDDING: vectors[0].detach()} if len(vectors) == 1 else {}


def _hypernetwork(loaded: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """ "768.k.linear.0.weight": the width of what an attention reads, keys or values, and the name within."""
    for width, pair in loaded.items():
        if _is_pair(width, pair):
            for side, state in zip("kv", pair, strict=True):
                for name, value in state.items():
                    if _is_tensor(value):
                        yield f"{width}.{side}.{name}", value


def _is_pair(key: Any, value: Any) -> bool:
    """A width and the states of its two networks, as A1111's hypernetworks have them."""
    return (
        isinstance(key, int)
        and isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(state, Mapping) for state in value)
    )


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)
