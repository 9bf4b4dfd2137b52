"""Hypernetworks, from the pickles that A1111 writes to what a U-Net's attentions read."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.networks.files import header_only
from tests.nn.small import SD1_UNET
from tests.nn.weights import draw, randomise, relative_error
from webui.checkpoints.convert import main
from webui.networks.hypernetworks import HypernetworkCatalogue, describe_hypernetwork
from webui.networks.hypertaps import Hypernetwork, input_taps, load_hypernetwork
from webui.nn.taps import Taps
from webui.nn.unet import UNet
from webui.schema.errors import ModelError, NotFound

WIDTHS = (32, 64, 128, 24)
"""What the small U-Net's attentions read: pixels of three levels, and the text."""
CPU = torch.device("cpu")


def branch(width: int, structure: list[float], activation: type[nn.Module] | None, last: bool, norm: bool) -> nn.Module:
    """A branch as A1111 builds it: linear layer, activation, norm, dropout."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(structure)):
        layers.append(nn.Linear(int(width * before), int(width * after)))
        if activation is not None and (last or index < len(structure) - 2):
            layers.append(activation())
        if norm:
            layers.append(nn.LayerNorm(int(width * after)))
        layers.append(nn.Dropout(0.3))
    return nn.Sequential(*layers).eval()


def random_pairs(seed: int = 0, **how: Any) -> dict[int, tuple[nn.Module, nn.Module]]:
    settings = {"structure": [1, 2, 1], "activation": nn.ReLU, "last": True, "norm": False, **how}
    return {
        width: (randomise(branch(width, **settings), seed + width), randomise(branch(width, **settings), seed + 1000))
        for width in WIDTHS
    }


def saved(folder: Path, pairs: dict[int, tuple[nn.Module, nn.Module]], name: str = "h", **said: Any) -> Hypernetwork:
    """The pairs written as A1111 does, converted, and loaded."""
    state: dict[Any, Any] = {
        width: tuple({f"linear.{key}": value for key, value in one.state_dict().items()} for one in pair)
        for width, pair in pairs.items()
    }
    torch.save({**state, "step": 10, "name": name, "layer_structure": [1, 2, 1], **said}, folder / f"{name}.pt")
    assert main(folder / f"{name}.pt", folder / f"{name}.safetensors") == 0
    return load_hypernetwork(describe_hypernetwork(folder / f"{name}.safetensors", name), "sd1", CPU, torch.float32)


class Before(nn.Module):
    """A projection behind branches, the naive way."""

    def __init__(self, projection: nn.Linear, branches: list[tuple[nn.Module, float]]) -> None:
        super().__init__()
        self.weight = projection.weight  # whose width the test reads
        self.projection, self.branches = projection, branches

    def forward(self, x: Tensor) -> Tensor:
        for one, strength in self.branches:
            x = x + one(x) * strength
        return self.projection(x)


@torch.no_grad()
def naive(unet: UNet, uses: list[tuple[dict[int, tuple[nn.Module, nn.Module]], float]], call: Callable) -> Tensor:
    changed = deepcopy(unet)
    for name in unet.tap_names.attentions:
        attention = changed.get_submodule(name)
        width = attention.to_k.weight.shape[1]
        attention.to_k = Before(attention.to_k, [(pairs[width][0], strength) for pairs, strength in uses])
        attention.to_v = Before(attention.to_v, [(pairs[width][1], strength) for pairs, strength in uses])
    return call(changed)


@pytest.fixture(scope="module")
def unet() -> UNet:
    found = randomise(UNet(SD1_UNET))
    assert isinstance(found, UNet)
    return found


@torch.no_grad()
def draw_with(unet: UNet, taps: Taps | None = None) -> Tensor:
    return unet(draw(1, 4, 16, 16), torch.tensor([500.0]), draw(1, 7, 24, seed=2), taps=taps)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, {"activation_func": "relu"}),
        ({"activation": None}, {"activation_func": "linear"}),
        ({"activation": None}, {}),
        ({"activation": nn.Hardswish, "last": False}, {"activation_func": "swish", "activate_output": False}),
        ({"norm": True, "structure": [1, 1.5, 2, 1]}, {"activation_func": "relu", "is_layer_norm": True}),
    ],
    ids=["plain", "linear", "without settings", "last stage linear", "with norms"],
)
@torch.no_grad()
def test_a_unet_with_a_hypernetwork_is_one_whose_keys_and_values_pass_through_it(
    how: dict[str, Any], said: dict[str, Any], tmp_path: Path, unet: UNet
) -> None:
    pairs = random_pairs(**how)
    network = saved(tmp_path, pairs, **said)
    answer = draw_with(unet, Taps(inputs=input_taps([(network, 0.7)], unet)))
    assert relative_error(answer, naive(unet, [(pairs, 0.7)], draw_with)) < 1e-5
    assert relative_error(answer, draw_with(unet)) > 0.01


@torch.no_grad()
def test_several_act_one_behind_the_other(tmp_path: Path, unet: UNet) -> None:
    one, two = random_pairs(1), random_pairs(2)
    networks = [(saved(tmp_path, pairs, name, activation_func="relu"), strength)
                for pairs, name, strength in ((one, "one", 0.5), (two, "two", -0.8))]  # fmt: skip
    answer = draw_with(unet, Taps(inputs=input_taps(networks, unet)))
    assert relative_error(answer, naive(unet, [(one, 0.5), (two, -0.8)], draw_with)) < 1e-5


def test_at_strength_0_nothing_is_tapped(tmp_path: Path, unet: UNet) -> None:
    assert input_taps([(saved(tmp_path, random_pairs()), 0)], unet) == {}


def test_names_of_the_first_files_are_read(tmp_path: Path) -> None:
    shapes = {f"768.{side}.linear{i}.weight": (768, 768) for side in "kv" for i in (1, 2)}
    shapes |= {f"768.{side}.linear{i}.bias": (768,) for side in "kv" for i in (1, 2)}
    file = describe_hypernetwork(header_only(tmp_path / "h.safetensors", shapes), "h")
    assert file.info is not None
    assert (file.info.widths, file.info.family, len(file.info.branches[768, "k"])) == ((768,), "sd1", 2)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"a": (1,)}, "This is no hypernetwork"),
        ({"768.k.linear.0.weight": (700, 768), "768.k.linear.1.weight": (768, 768)}, "does not fit the one before"),
        ({"768.k.linear.0.weight": (700, 768)}, "branch of 768 channels ends in 700"),
        ({"768.k.linear.0.weight": (768,)}, "does not fit the one before"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, shapes: dict[str, tuple[int, ...]], said: str) -> None:
    file = describe_hypernetwork(header_only(tmp_path / "h.safetensors", shapes), "h")
    assert file.info is None
    assert said in file.error


def test_what_does_not_fit_the_model_is_refused(tmp_path: Path, unet: UNet) -> None:
    shapes = {"1024.k.linear.0.weight": (1024, 1024)}
    file = describe_hypernetwork(header_only(tmp_path / "h.safetensors", shapes), "h")
    with pytest.raises(ModelError, match=r'"h" is a hypernetwork for SD 2\.x, the loaded model is SD 1\.x'):
        load_hypernetwork(file, "sd1", CPU, torch.float32)
    network = load_hypernetwork(file, "sd2", CPU, torch.float32)
    with pytest.raises(ModelError, match="no branch for this model"):
        input_taps([(network, 1.0)], unet)
    with pytest.raises(ModelError, match="the activation 'wild'"):
        saved(tmp_path, random_pairs(), "wild", activation_func="wild")


def test_a_hypernetwork_is_found_by_its_name(tmp_path: Path) -> None:
    shapes = {"768.k.linear.0.weight": (768, 768)}
    header_only(tmp_path / "hypernetworks" / "old" / "Ink.safetensors", shapes)
    (tmp_path / "hypernetworks" / "raw.pt").write_bytes(b"PK\x03\x04")
    catalogue = HypernetworkCatalogue(tmp_path)
    assert [file.name for file in catalogue.list()] == ["old/Ink", "raw"]
    assert catalogue.find("ink").name == "old/Ink"
    with pytest.raises(NotFound, match='There is no hypernetwork "pen"'):
        catalogue.find("pen")
    with pytest.raises(ModelError, match="models convert"):
        catalogue.find("raw")
