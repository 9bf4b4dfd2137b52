"""Layers of peft with random numbers in every tensor, and what peft itself makes of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict
from torch import Tensor, nn

from tests.nn.weights import drawn
from webui.networks.changes import Change
from webui.networks.keys import layers_of
from webui.networks.kinds import kind_of
from webui.networks.peft import PeftSettings

LINEAR = (24, 16)
"""Outputs, inputs."""


class Layers(nn.Module):
    """Two layers under the names that the configs of these tests target."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(LINEAR[1], LINEAR[0])
        self.conv = nn.Conv2d(8, 12, kernel)


@torch.no_grad()
def adapted(config: Any, layer: str, kernel: int = 3, seed: int = 0) -> tuple[nn.Module, nn.Module, dict[str, Tensor]]:
    """The layer as it was, as peft merged it, and the adapter's tensors by the names of peft's files."""
    generator = torch.Generator().manual_seed(seed)
    model = Layers(kernel)
    for name, parameter in model.named_parameters():
        parameter.copy_(drawn(name, torch.randn(parameter.shape, generator=generator)))
    base = Layers(kernel)
    base.load_state_dict(model.state_dict())
    wrapped = get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            around = 1.0 if "ia3_l" in name or "boft_s" in name or "magnitude" in name else 0.0
            parameter.copy_(around + 0.2 * torch.randn(parameter.shape, generator=generator))
    state = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(wrapped).items()}
    merged = wrapped.merge_and_unload()
    return base.get_submodule(layer), merged.get_submodule(layer), state


def change_of(state: Mapping[str, Tensor], layer: str, config: Any = None) -> Change:
    """The change of one layer of a peft state, read as from a file."""
    found = next(known for known in layers_of(state) if known.name == f"base_model.model.{layer}")
    kind, used = kind_of(found) or (None, frozenset())
    assert kind is not None
    settings = PeftSettings(layer, config.to_dict() if config is not None else {})
    return Change(kind.id, {part: state[found.parts[part]] for part in used}, settings)


def assert_all_matter(state: Mapping[str, Tensor]) -> None:
    assert all(tensor.count_nonzero() == tensor.numel() for tensor in state.values())
