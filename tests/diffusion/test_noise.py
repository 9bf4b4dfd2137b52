from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.diffusion.noise import BrownianPath, NoiseSource, slerp

SHAPE = (4, 8, 6)
LIKE = torch.empty(SHAPE)
sigmas = st.floats(0.03, 15).filter(lambda sigma: sigma > 0)


def cpu(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_initial_noise_of_a_seed_is_torch_randn_of_that_seed():
    assert torch.equal(NoiseSource(1234).initial(SHAPE), torch.randn(SHAPE, generator=cpu(1234)))


def test_the_noise_of_a_small_picture_is_of_its_seed_and_like_no_other():
    source = NoiseSource(1234)
    small, others = source.small(SHAPE), (source.initial(SHAPE), source.posterior(SHAPE), NoiseSource(5).small(SHAPE))
    assert torch.equal(small, NoiseSource(1234).small(SHAPE))
    for other in others:
        assert abs(torch.corrcoef(torch.stack([small.flatten(), other.flatten()]))[0, 1]) < 0.3
    assert 0.8 < small.std() < 1.2


def test_draws_go_on_where_the_initial_noise_ended():
    generator = cpu(5)
    torch.randn(SHAPE, generator=generator)
    noise = NoiseSource(5).draws(LIKE)
    for _ in range(3):
        assert torch.equal(noise(2.0, 1.0), torch.randn(SHAPE, generator=generator))


def test_a_seed_gives_the_same_noise_in_any_company():
    alone = NoiseSource(5).draws(LIKE)
    first, second = alone(3.0, 2.0), alone(2.0, 1.0)
    one, other = NoiseSource(5).draws(LIKE), NoiseSource(6).draws(LIKE)
    together = [(one(3.0, 2.0), other(3.0, 2.0)), (one(2.0, 1.0), other(2.0, 1.0))]
    assert torch.equal(together[0][0], first)
    assert torch.equal(together[1][0], second)
    assert not torch.equal(together[0][1], first)


def test_no_noise_touches_the_global_generator():
    before = torch.random.get_rng_state()
    source = NoiseSource(5, subseed=2, subseed_strength=0.5, resize_from=(4, 4))
    source.initial(SHAPE)
    source.draws(LIKE)(2.0, 1.0)
    source.brownian(LIKE)(2.0, 1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_noise_comes_in_the_dtype_of_the_latent(dtype):
    like = torch.empty(SHAPE, dtype=dtype)
    for noise in (NoiseSource(1).draws(like), NoiseSource(1).brownian(like)):
        assert noise(2.0, 1.0).dtype == dtype
    assert torch.equal(NoiseSource(1).draws(like)(2.0, 1.0), NoiseSource(1).draws(LIKE)(2.0, 1.0).to(dtype))


@pytest.mark.gpu
def test_noise_is_bit_identical_on_the_gpu():
    like = torch.empty(SHAPE, device="cuda")
    for kind in ("draws", "brownian"):
        on_gpu, on_cpu = getattr(NoiseSource(1), kind)(like), getattr(NoiseSource(1), kind)(LIKE)
        assert torch.equal(on_gpu(2.0, 1.0).cpu(), on_cpu(2.0, 1.0))


def test_seeds_of_any_size_are_seeds():
    for seed in (0, 2**32 - 1, 2**63, -1):
        assert torch.isfinite(NoiseSource(seed).initial(SHAPE)).all()


def test_ensd_starts_the_draws_from_another_seed():
    noise = NoiseSource(5, eta_seed_delta=31337).draws(LIKE)
    assert torch.equal(noise(2.0, 1.0), torch.randn(SHAPE, generator=cpu(5 + 31337)))


# -- variations -------------------------------------------------------------------------------------------------------


def test_variation_strength_0_is_the_seed_and_1_is_the_variation_seed():
    assert torch.equal(NoiseSource(1, 2, 0.0).initial(SHAPE), NoiseSource(1).initial(SHAPE))
    assert torch.allclose(NoiseSource(1, 2, 1.0).initial(SHAPE), NoiseSource(2).initial(SHAPE), atol=1e-6)


def test_a_variation_lies_on_the_arc_between_both_noises():
    """slerp: sin((1 - w) omega) / sin(omega) a + sin(w omega) / sin(omega) b, per column."""
    a, b, w = NoiseSource(1).initial(SHAPE), NoiseSource(2).initial(SHAPE), 0.3
    got = NoiseSource(1, 2, w).initial(SHAPE)
    for channel, column in ((0, 0), (3, 5)):
        u, v = a[channel, :, column], b[channel, :, column]
        omega = math.acos(float(u @ v / u.norm() / v.norm()))
        wanted = math.sin((1 - w) * omega) / math.sin(omega) * u + math.sin(w * omega) / math.sin(omega) * v
        assert torch.allclose(got[channel, :, column], wanted, atol=1e-5)


def test_a_variation_keeps_the_spread_of_noise():
    assert float(NoiseSource(1, 2, 0.5).initial((4, 64, 64)).std()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 2, 2), SHAPE])
def test_slerp_between_equal_or_opposite_noises_is_a_number(shape):
    a = NoiseSource(1).initial(shape)
    assert torch.allclose(slerp(0.3, a, a), a, atol=1e-4)
    assert torch.isfinite(slerp(0.3, a, -a)).all()


@pytest.mark.parametrize("shape", [(4, 12, 10), (4, 5, 3), (4, 12, 3), (4, 8, 6)])
def test_noise_of_another_size_is_kept_in_the_middle(shape):
    _, h, w = shape
    got, small, own = NoiseSource(1, resize_from=(8, 6)).initial(shape), NoiseSource(1).initial(SHAPE), cpu(1)
    top, left = (h - 8) // 2, (w - 6) // 2
    rows, columns = min(h, 8), min(w, 6)
    middle = got[:, max(top, 0) : max(top, 0) + rows, max(left, 0) : max(left, 0) + columns]
    assert torch.equal(middle, small[:, max(-top, 0) : max(-top, 0) + rows, max(-left, 0) : max(-left, 0) + columns])
    if h > 8:
        assert torch.equal(got[:, 0], torch.randn(shape, generator=own)[:, 0])


# -- Brownian paths ---------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(sigmas, sigmas, sigmas)
def test_increments_of_a_path_add_up(a, b, c):
    path = BrownianPath(3, SHAPE)
    assert torch.allclose(path.increment(a, b) + path.increment(b, c), path.increment(a, c), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(sigmas, sigmas)
def test_a_path_does_not_depend_on_what_was_asked_before(a, b):
    asked_before = BrownianPath(3, SHAPE)
    asked_before.increment(14.0, 0.5)
    assert torch.equal(asked_before.increment(a, b), BrownianPath(3, SHAPE).increment(a, b))


def test_a_path_begins_at_0():
    assert BrownianPath(3, SHAPE).increment(0.0, 0.0).abs().max() == 0
    assert torch.equal(BrownianPath(3, SHAPE).increment(1.0, 1.0), torch.zeros(SHAPE, dtype=torch.float64))


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0.001), (0, 0.03), (0.03, 0.031), (0.9, 1.1), (7.99, 8.01), (14, 14.001), (14.6, 4), (1, 4518)],
)
def test_increments_have_the_spread_of_their_length(start, end):
    increment = BrownianPath(1, (4, 64, 64)).increment(start, end) / abs(end - start) ** 0.5
    assert float(increment.std()) == pytest.approx(1.0, abs=0.03)
    assert float(increment.mean()) == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(
    "times", [(0.5, 0.7, 1.0), (1.0, 1.5, 2.3), (0.9, 1.0, 1.1), (3.0, 5.0, 14.6), (0.0, 0.03, 0.05)]
)
def test_increments_that_follow_each_other_are_independent(times):
    a, b, c = times
    path = BrownianPath(1, (4, 64, 64))
    one, next_one = path.increment(a, b).flatten(), path.increment(b, c).flatten()
    assert float(torch.corrcoef(torch.stack([one, next_one]))[0, 1]) == pytest.approx(0.0, abs=0.03)


def test_brownian_noise_has_unit_variance_and_turns_with_the_direction():
    noise = NoiseSource(1).brownian(torch.empty((4, 64, 64)))
    assert float(noise(5.0, 3.0).std()) == pytest.approx(1.0, abs=0.02)
    assert torch.equal(noise(5.0, 3.0), -noise(3.0, 5.0))


def test_other_seeds_are_other_paths():
    assert not torch.equal(BrownianPath(1, SHAPE).increment(1, 2), BrownianPath(2, SHAPE).increment(1, 2))


def test_a_path_says_how_far_it_reaches():
    with pytest.raises(ValueError, match="16384"):
        BrownianPath(1, SHAPE).increment(0.0, 20000.0)
