from __future__ import annotations

import pytest
import torch

from webui.diffusion.preview import family_factors, fit_factors, latent_to_rgb


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("family", "channels"), [("sd1", 4), ("sd2", 4), ("sdxl", 4)])
def test_known_families_have_a_row_per_channel_and_one_for_all(family, channels):
    assert family_factors(family).shape == (channels + 1, 3)


def test_an_unknown_family_has_no_factors():
    assert family_factors("something new") is None


def test_a_preview_has_a_colour_per_latent_pixel():
    rgb = latent_to_rgb(normal(4, 6, 5) * 5, family_factors("sd1"))
    assert rgb.shape == (3, 6, 5)
    assert 0 <= rgb.min() <= rgb.max() <= 1
    assert rgb.std() > 0.1


def test_the_last_row_is_added_everywhere():
    factors = torch.zeros(5, 3)
    factors[-1] = torch.tensor([-1.0, 0.0, 1.0])
    assert latent_to_rgb(normal(4, 2, 2), factors)[:, 0, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_without_factors_there_is_still_something_to_see(channels):
    rgb = latent_to_rgb(normal(channels, 6, 5), None)
    assert rgb.shape == (3, 6, 5)
    assert rgb.std() > 0.05


def test_nan_is_grey():
    assert latent_to_rgb(torch.full((4, 2, 2), float("nan")), family_factors("sd1")).unique().tolist() == [0.5]


def test_a_fit_finds_the_map_that_made_the_pictures():
    factors, latents = normal(5, 3).double(), normal(3, 4, 6, 5).double()
    pictures = torch.einsum("bchw,cr->brhw", latents, factors[:-1]) + factors[-1][None, :, None, None]
    assert torch.allclose(fit_factors(latents, pictures), factors, atol=1e-9)
