"""Control files -> networks: the layouts of ControlNet files, and the filling of modules with checked weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from webui.checkpoints.control import ControlInfo
from webui.checkpoints.control_layouts import bare_names, has_difference
from webui.control.adapters import Base
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.schema.errors import ModelError

NAMED = 3
"""Tensors that an error names before it says "and n more"."""
M = TypeVar("M", bound=nn.Module)
_AGAIN = "Download the file again, or get another version of it."


def load_controlnet(weights: Mapping[str, Tensor], info: ControlInfo, base: Base, device: torch.device) -> ControlNet:
    """The ControlNet of a file in any layout; a file of differences is added to the checkpoint's own weights.

    Raises:
        ModelError: tensors are missing or of another shape.
    """
    assert info.unet is not None, "only ControlNets come here"
    config = ControlNetConfig(info.unet, info.hint_channels, info.hint_widths, info.short_middle)
    return filled(lambda: ControlNet(config), controlnet_state(weights, base), base.dtype, device)


def controlnet_state(weights: Mapping[str, Tensor], base: Base) -> Mapping[str, Tensor]:
    """The tensors of a ControlNet's file by bare ldm names."""
    names = bare_names(weights)
    if not has_difference(weights):
        return Renamed(weights, names)
    return {
        ours: weights[theirs] + base.weights[ours].to(weights[theirs]) if ours in base.weights else weights[theirs]
        for ours, theirs in names.items()
    }


def filled(make: Callable[[], M], state: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device | str) -> M:
    """A module made without memory and given its weights; tensors of `state` that it has not are left alone.

    Raises:
        ModelError: tensors are missing or of another shape; some of them by name.
    """
    with torch.device("meta"):
        module = make()
    expected = module.state_dict()
    if missing := sorted(name for name in expected if name not in state):
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise ModelError(f"The control model is not whole: without {', '.join(missing[:NAMED])}{more}.", _AGAIN)
    taken = {name: fitted(name, state[name], tuple(expected[name].shape)).to(dtype) for name in expected}
    module.requires_grad_(False).eval().load_state_dict(taken, assign=True)
    return module.to(device)


def fitted(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor; a 1 x 1 convolution may be written as a matrix. Raises ModelError for any other shape."""
    if tuple(tensor.shape) != shape and (*tensor.shape, 1, 1) != shape and tuple(tensor.shape) != (*shape, 1, 1):
        raise ModelError(f"The control model does not fit: {name} is {list(tensor.shape)}, not {list(shape)}.", _AGAIN)
    return tensor.reshape(shape)


class Renamed(Mapping[str, Tensor]):
    """The same tensors by other names, each read when it is asked for."""

    def __init__(self, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self._weights = weights
        self._names = names

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
