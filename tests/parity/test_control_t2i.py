"""T2I-Adapter against diffusers: its features, and what the U-Net makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from diffusers import T2IAdapter
from torch import Tensor

from tests.control.small import base_of, load, write
from tests.nn.small import UNETS
from tests.nn.weights import randomise, relative_error
from tests.parity.test_control_nets import hint_of, rows
from tests.parity.test_nn_unet import both, inputs, our_answer, their_answer
from webui.ext.loader import Loader
from webui.nn.unet import Controls

TOLERANCE = 1e-5
CHANNELS = {"sd1": [32, 64, 128, 128], "sdxl": [32, 64, 128, 128]}
KINDS = [
    ("full_adapter", "sd1", 8, 3),
    ("full_adapter", "sd1", 8, 1),
    ("light_adapter", "sd1", 8, 3),
    ("full_adapter_xl", "sdxl", 16, 3),
]


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.close()


def their_adapter(kind: str, family: str, factor: int, channels: int) -> T2IAdapter:
    # of the light kind diffusers repeats the last width itself
    widths = CHANNELS[family][:3] if kind == "light_adapter" else CHANNELS[family]
    net = T2IAdapter(channels, widths, 2, factor, kind)
    return randomise(net, seed=4)  # type: ignore[return-value]


def first_names(net: T2IAdapter, light: bool) -> dict[str, Tensor]:
    """The same weights by the names of the first files, written out by hand."""
    state = {name.removeprefix("adapter."): tensor for name, tensor in net.state_dict().items()}
    if light:
        return {name.replace(".resnets.", ".body."): tensor for name, tensor in state.items()}
    named = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "body":
            level = int(parts[1])
            if parts[2] == "in_conv":
                name = f"body.{2 * level}.in_conv.{parts[3]}"
            else:
                name = f"body.{2 * level + int(parts[3])}.{parts[4]}.{parts[5]}"
        named[name] = tensor
    return named


@pytest.mark.parametrize("named", ["diffusers", "first"])
@pytest.mark.parametrize(("kind", "family", "factor", "channels"), KINDS)
def test_the_features_are_diffusers(kind, family, factor, channels, named, tmp_path, loader):
    net = their_adapter(kind, family, factor, channels)
    tensors = net.state_dict() if named == "diffusers" else first_names(net, kind == "light_adapter")
    loaded = load(write(tmp_path / "adapter.safetensors", tensors), base_of(UNETS[family], family), loader)
    assert (loaded.match.kind, loaded.match.family) == ("T2I-Adapter", family)
    hint = hint_of()
    image = hint.image if channels == 3 else hint.image.mean(dim=1, keepdim=True)
    with torch.no_grad():
        ours, theirs = loaded.adapter.prepare(hint), net(image)
    assert len(ours) == len(theirs) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert float(b.norm()) > 0
        assert relative_error(a, b) < TOLERANCE


@pytest.mark.parametrize(("kind", "family", "factor", "channels"), [KINDS[0], KINDS[3]])
def test_the_unet_draws_as_diffusers_does(kind, family, factor, channels, tmp_path, loader):
    net = their_adapter(kind, family, factor, channels)
    loaded = load(write(tmp_path / "adapter.safetensors", net.state_dict()), base_of(UNETS[family], family), loader)
    ours, theirs = both(UNETS[family], torch.float32)
    given = inputs(UNETS[family], torch.float32)
    hint = hint_of(128, 128)
    with torch.no_grad():
        found = loaded.adapter.residuals(rows(UNETS[family], 16, 16), loaded.adapter.prepare(hint))
        answer = our_answer(ours, given, Controls(found.skips, found.middle, found.hidden))
        states = [feature.expand(2, -1, -1, -1).clone() for feature in net(hint.image)]
        expected = their_answer(theirs, given, down_intrablock_additional_residuals=states)
    assert relative_error(answer, expected) < TOLERANCE
    assert relative_error(answer, our_answer(ours, given)) > 0.01


def test_odd_sides_are_rounded_up(tmp_path, loader):
    net = their_adapter(*KINDS[0])
    loaded = load(write(tmp_path / "adapter.safetensors", net.state_dict()), base_of(UNETS["sd1"]), loader)
    with torch.no_grad():
        features = loaded.adapter.prepare(hint_of(72, 88))
    assert [tuple(feature.shape[-2:]) for feature in features] == [(9, 11), (5, 6), (3, 3), (2, 2)]
