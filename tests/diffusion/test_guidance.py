from __future__ import annotations

import torch

from webui.diffusion.guidance import cfg, compose, rescale


def normal(seed: int) -> torch.Tensor:
    return torch.randn((4, 6, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_cfg_walks_from_uncond_through_cond():
    cond, uncond = normal(0), normal(1)
    assert torch.allclose(cfg(cond, uncond, 1.0), cond)
    assert torch.equal(cfg(cond, uncond, 0.0), uncond)
    assert torch.allclose(cfg(cond, uncond, 7.5), 7.5 * cond - 6.5 * uncond)


def test_one_cond_of_weight_1_is_plain_cfg():
    assert torch.allclose(compose([normal(0)], [1.0], normal(1), 7.0), cfg(normal(0), normal(1), 7.0))


def test_rescale_is_the_formula_of_the_paper():
    """arXiv:2305.08891, eq. 15-16: x_rescaled = x_cfg * std(x_pos) / std(x_cfg), then phi of it."""
    cond, guided, phi = normal(0), cfg(normal(0), normal(1), 7.5), 0.7
    wanted = phi * guided * (cond.std() / guided.std()) + (1 - phi) * guided
    assert torch.allclose(rescale(guided, cond, phi), wanted, rtol=1e-12)


def test_rescale_gives_the_spread_of_cond_at_1_and_nothing_at_0():
    cond, guided = normal(0), cfg(normal(0), normal(1), 7.5)
    assert torch.isclose(rescale(guided, cond, 1.0).std(), cond.std())
    assert torch.equal(rescale(guided, cond, 0.0), guided)


def test_rescale_treats_every_image_of_a_batch_by_itself():
    cond, guided = torch.stack([normal(0), 5 * normal(1)]), torch.stack([3 * normal(2), normal(3)])
    rows = rescale(guided, cond, 0.7)
    assert torch.allclose(rows[0], rescale(guided[0], cond[0], 0.7))
    assert torch.allclose(rows[1], rescale(guided[1], cond[1], 0.7))
