"""Weights in 8 bits: which they are, how they are rounded, and that nothing else of a model changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.nn.small import UNETS
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.storage import FLOAT8, KEPT, STORED, dithered, nearest, placed, store_unet
from webui.nn.unet import UNet

FORMATS = pytest.mark.parametrize("dtype", FLOAT8, ids=str)


def numbers(dtype: torch.dtype) -> Tensor:
    """All finite numbers of a format in 8 bits, in their order."""
    every = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    return every[every.isfinite()].unique()


def small_unet(family: str = "sd1") -> UNet:
    return randomise(UNet(UNETS[family])).requires_grad_(False)  # type: ignore[return-value]


def matrices(unet: nn.Module) -> dict[str, Tensor]:
    """The weights of linear and convolution layers that are not to be kept."""
    layers = {name: one for name, one in unet.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
    return {name: layer.weight for name, layer in layers.items() if not name.startswith(KEPT)}  # type: ignore[misc]


@FORMATS
def test_what_is_stored_takes_exactly_half_of_half_precision(dtype: torch.dtype) -> None:
    unet = small_unet().to(torch.float16)  # type: ignore[call-overload]
    names = matrices(unet).keys()
    before = {name: weight.nbytes for name, weight in unet.state_dict().items()}
    after = {name: weight.untyped_storage().nbytes() for name, weight in store_unet(unet, dtype).state_dict().items()}
    stored = {f"{name}.weight" for name in names}
    assert {name for name in after if after[name] != before[name]} == stored
    assert all(2 * after[name] == before[name] for name in stored)
    assert sum(before[name] for name in stored) > 0.9 * sum(before.values())


@FORMATS
@pytest.mark.parametrize("family", UNETS)
def test_a_stored_unet_answers_exactly_as_one_with_rounded_weights(family: str, dtype: torch.dtype) -> None:
    unet, rounded = small_unet(family), small_unet(family)
    for weight in matrices(rounded).values():
        weight.copy_(weight.to(dtype).float())
    given = draw(2, 4, 8, 8), torch.tensor([3.5, 901.0]), draw(2, 5, 24), draw(2, 40) if family == "sdxl" else None
    exact = unet(*given)
    answer = store_unet(unet, dtype)(*given)
    assert torch.equal(answer, rounded(*given))
    assert 1e-3 < relative_error(answer, exact) < 0.5


def test_in_half_precision_the_answer_is_that_of_rounded_weights_too() -> None:
    unet = small_unet()
    rounded = copy.deepcopy(unet)
    for weight in matrices(rounded).values():
        weight.copy_(weight.to(FLOAT8[0]).float())
    given = [tensor.bfloat16() for tensor in (draw(1, 4, 8, 8), draw(1, 5, 24))]
    unet = placed(store_unet(unet, FLOAT8[0]), "cpu", torch.bfloat16)
    answer = unet(given[0], torch.tensor([7.0]), given[1])
    assert torch.equal(answer, rounded.bfloat16()(given[0], torch.tensor([7.0]), given[1]))


def test_weights_in_8_bits_keep_their_memory_and_without_a_format_the_others_their_own() -> None:
    unet = small_unet()
    name, weight = next(iter(matrices(unet).items()))
    weight.data = weight.data.to(torch.float8_e5m2)
    address = weight.data_ptr()
    for storage in (None, torch.float8_e4m3fn):
        unet = placed(store_unet(unet, storage), "cpu", torch.float16)
        kept = unet.get_parameter(f"{name}.weight")
        assert (kept.dtype, kept.data_ptr()) == (torch.float8_e5m2, address)
        others = {one.dtype for other, one in matrices(unet).items() if other != name}
        assert others == {storage or torch.float16}


def test_layers_keep_their_strides_bias_and_mode() -> None:
    unet = small_unet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = torch.channels_last
    convolutions = {name: one for name, one in unet.state_dict().items() if one.ndim == 4}
    assert all(one.is_contiguous(memory_format=last) for one in convolutions.values())
    shapes = {name: one.shape for name, one in unet.state_dict().items()}
    names = [name for name, _ in unet.named_modules()]
    store_unet(unet, FLOAT8[0])
    state = unet.state_dict()
    assert {name: one.shape for name, one in state.items()} == shapes
    assert all(state[name].is_contiguous(memory_format=last) for name in convolutions)
    assert [name for name, _ in unet.named_modules()] == names
    stored = [layer for layer in unet.modules() if isinstance(layer, STORED)]
    assert stored
    assert not any(layer.training or layer.weight.requires_grad for layer in stored)


@FORMATS
def test_rounding_to_the_nearest_stops_at_the_largest_number(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    assert nearest(torch.tensor([2 * largest, -1e30, largest]), dtype).float().tolist() == [largest, -largest, largest]


@FORMATS
def test_dithering_leaves_numbers_of_the_format_alone_and_gives_one_of_the_two_neighbours(dtype: torch.dtype) -> None:
    every = numbers(dtype)
    assert torch.equal(dithered(every, dtype).float(), every)
    weight = 0.02 * draw(300, 400)
    got, above = dithered(weight, dtype).float(), torch.searchsorted(every, weight)
    assert bool(((got == every[above]) | (got == every[above - 1])).all())
    assert torch.equal(dithered(weight, dtype).float(), got)  # the same each time
    assert dithered(torch.tensor([1e9, -1e9]), dtype).float().tolist() == [every[-1], every[0]]


@FORMATS
@pytest.mark.parametrize("value", [0.3, -0.3, 0.011, 0.0007, -3.3])
def test_dithering_keeps_the_mean(dtype: torch.dtype, value: float) -> None:
    every = numbers(dtype)
    above = int(torch.searchsorted(every, value))
    step = float(every[above] - every[above - 1])
    mean = dithered(torch.full((1000, 1000), value), dtype).double().mean().item()
    assert abs(mean - value) < 0.003 * step  # nearest would be up to half a step away


def test_a_change_smaller_than_half_a_step_stays_in_sum() -> None:
    weight = 0.05 * draw(500, 500)
    base, change = nearest(weight, FLOAT8[0]).float(), 0.0002 * draw(500, 500, seed=2)
    kept = {
        name: float(((rounded(base + change, FLOAT8[0]).float() - base) * change).sum() / change.square().sum())
        for name, rounded in (("nearest", nearest), ("dithered", dithered))
    }
    assert abs(kept["dithered"] - 1) < 0.2
    assert kept["nearest"] < 0.5


def test_dithering_keeps_the_order_of_dimensions_in_memory() -> None:
    weight = draw(8, 8, 3, 3).to(memory_format=torch.channels_last)
    found = dithered(weight, FLOAT8[0])
    assert found.stride() == weight.stride()
    assert torch.equal(found.float(), dithered(weight.contiguous(), FLOAT8[0]).float())
