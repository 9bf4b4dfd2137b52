"""Recolor puts the light of the original back into what was drawn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.extensions.support import cloud, manifest, module, pixels

IDS = ("recolor_luminance", "recolor_intensity")


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1) / 255


def decoded(image: np.ndarray, light: np.ndarray, id: str, weight: float = 1.0) -> torch.Tensor:
    """What the hook makes of a drawn picture with one unit of this preprocessor."""
    settings = SimpleNamespace(preprocessor=id, weight=weight)
    unit = SimpleNamespace(settings=settings, hint=SimpleNamespace(image=as_tensor(light)[None]))
    with module("recolor") as main:
        return main.after_decode(SimpleNamespace(image=as_tensor(image), p=SimpleNamespace(units=(unit,))))


def test_the_manifest_says_that_it_changes_pictures():
    assert manifest("recolor").hooks == ("after_decode",)


@pytest.mark.parametrize("id", IDS)
def test_a_picture_with_its_own_light_stays_as_it_is(id: str):
    image = cloud(40, 56)
    error = (decoded(image, pixels(image, "recolor", id), id) - as_tensor(image)).abs()
    assert error.mean() < 0.005  # the map has 256 steps of light
    assert error.max() < 0.05


def test_intensity_puts_the_brightest_channel_back_and_keeps_the_colour():
    drawn = np.full((2, 2, 3), (200, 100, 50), np.uint8)
    light = np.full((2, 2, 3), 100, np.uint8)
    found = decoded(drawn, light, "recolor_intensity") * 255
    assert found[:, 0, 0].tolist() == pytest.approx([100, 50, 25], abs=0.5)


def test_luminance_puts_the_lightness_back_and_keeps_grey_grey():
    drawn, original = np.full((4, 4, 3), 60, np.uint8), np.full((4, 4, 3), 180, np.uint8)
    found = decoded(drawn, pixels(original, "recolor", "recolor_luminance"), "recolor_luminance") * 255
    assert (found - 180).abs().max() < 1.5


@pytest.mark.parametrize("id", IDS)
def test_weight_0_and_padding_stay_as_they_were_drawn(id: str):
    drawn, light = cloud(24, 32, seed=1), pixels(cloud(16, 24), "recolor", id)
    assert torch.equal(decoded(drawn, light, id, weight=0.0), as_tensor(drawn))
    found = decoded(drawn, light, id)
    assert torch.equal(found[:, 16:], as_tensor(drawn)[:, 16:])
    assert torch.equal(found[:, :, 24:], as_tensor(drawn)[:, :, 24:])
    assert not torch.equal(found[:, :16, :24], as_tensor(drawn)[:, :16, :24])
