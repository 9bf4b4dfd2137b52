from __future__ import annotations

import pytest
import torch

from tests.diffusion.small import SCHEDULE
from webui.diffusion.denoiser import (
    Cond,
    Guidance,
    c_in,
    combine,
    denoise,
    from_denoised,
    q_sample,
    q_sample_vp,
    stack,
    to_denoised,
    training_target,
)
from webui.diffusion.types import Eval

PREDICTIONS = ("epsilon", "v", "sample")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- parameterisations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("timestep", [0, 500, 999])
def test_the_training_target_leads_back_to_the_clean_latent(prediction, timestep):
    x0, eps = normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1)
    alpha_bar, sigma = SCHEDULE.alphas_cumprod[timestep], SCHEDULE.sigmas[timestep]
    target = training_target(prediction, x0, alpha_bar, eps)
    assert torch.allclose(to_denoised(prediction, target, q_sample(x0, sigma, eps), sigma), x0, atol=1e-10)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_from_denoised_undoes_to_denoised(prediction):
    output, x = normal(4, 3, 3), normal(4, 3, 3, seed=1)
    denoised = to_denoised(prediction, output, x, 2.5)
    assert torch.allclose(from_denoised(prediction, denoised, x, 2.5), output, atol=1e-12)


def test_the_network_sees_the_forward_process_of_ddpm():
    """x * c_in is q(z_t | z_0) of DDPM."""
    x0, eps = normal(4, 3, 3), normal(4, 3, 3, seed=1)
    for timestep in (0, 400, 999):
        sigma = float(SCHEDULE.sigmas[timestep])
        seen = q_sample(x0, sigma, eps) * c_in(sigma)
        assert torch.allclose(seen, q_sample_vp(x0, SCHEDULE.alphas_cumprod[timestep], eps), atol=1e-12)


def test_the_forward_process_takes_a_level_per_row():
    x0, eps = normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1)
    alpha_bar = torch.tensor([0.9, 0.2], dtype=torch.float64)[:, None, None, None]
    rows = q_sample_vp(x0, alpha_bar, eps)
    assert torch.allclose(rows[1], 0.2**0.5 * x0[1] + 0.8**0.5 * eps[1])


# -- rows -------------------------------------------------------------------------------------------------------------


class Network:
    """A model that counts its calls; its answer depends on all it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, call):
        return self.answer(call.x, call.timesteps, call.context, call.y)

    def answer(self, x, timesteps, context, y):
        self.calls.append((x, timesteps))
        level = timesteps[:, None, None, None].to(x.dtype) / 1000
        told = context.mean((1, 2))[:, None, None, None]
        return x * level + told + (0 if y is None else y.mean(1)[:, None, None, None])


def cond(seed: int, tokens: int = 7, y: bool = False) -> Cond:
    return Cond(normal(tokens, 5, seed=seed), normal(6, seed=seed) if y else None)


def plain(cond_: Cond, x, sigma, prediction="epsilon"):
    """One row by itself, written out."""
    t = torch.tensor([SCHEDULE.sigma_to_timestep(sigma)])
    y = None if cond_.y is None else cond_.y[None]
    output = Network().answer(x[None] / (1 + sigma**2) ** 0.5, t, cond_.context[None], y)[0]
    return to_denoised(prediction, output, x, sigma)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("y", [False, True])
def test_images_of_different_sigmas_share_one_call(prediction, y):
    evals = [Eval(normal(4, 3, 3, seed=i), sigma, 0) for i, sigma in enumerate((9.0, 0.7, 0.05))]
    guidances = [Guidance(((cond(i, y=y), 1.0),), cond(10 + i, y=y), 7.0) for i in range(3)]
    network = Network()
    answers = denoise(network, evals, guidances, SCHEDULE, prediction)
    assert len(network.calls) == 1
    assert network.calls[0][0].shape == (6, 4, 3, 3)
    for wish, guidance, answer in zip(evals, guidances, answers, strict=True):
        high = plain(guidance.conds[0][0], wish.x, wish.sigma, prediction)
        low = plain(guidance.uncond, wish.x, wish.sigma, prediction)
        assert torch.allclose(answer.denoised, low + 7 * (high - low), atol=1e-5)
        assert torch.allclose(answer.uncond, low, atol=1e-5)


def test_cfg_1_skips_the_uncond_row():
    wish, guidance = Eval(normal(4, 3, 3), 2.0, 0), Guidance(((cond(0), 1.0),), cond(1), 1.0)
    network = Network()
    (answer,) = denoise(network, [wish], [guidance], SCHEDULE, "epsilon")
    assert network.calls[0][0].shape[0] == 1
    assert answer.uncond is None
    assert torch.allclose(answer.denoised, plain(cond(0), wish.x, 2.0), atol=1e-5)


def test_cfg_1_keeps_the_uncond_row_for_samplers_that_need_it():
    guidance = Guidance(((cond(0), 1.0),), cond(1), 1.0, keep_uncond=True)
    (answer,) = denoise(Network(), [Eval(normal(4, 3, 3), 2.0, 0)], [guidance], SCHEDULE, "epsilon")
    assert torch.allclose(answer.uncond, plain(cond(1), normal(4, 3, 3), 2.0), atol=1e-5)


def test_several_conds_are_summed_by_weight():
    """AND: uncond + sum of weight * scale * (cond - uncond)."""
    x, guidance = normal(4, 3, 3), Guidance(((cond(0), 1.0), (cond(1), -0.5)), cond(2), 5.0)
    (answer,) = denoise(Network(), [Eval(x, 2.0, 0)], [guidance], SCHEDULE, "v")
    one, other, low = (plain(cond(i), x, 2.0, "v") for i in range(3))
    assert torch.allclose(answer.denoised, low + 5 * (one - low) - 2.5 * (other - low), atol=1e-5)


def test_rows_of_other_shapes_get_a_call_of_their_own():
    evals = [Eval(normal(4, 3, 3), 2.0, 0), Eval(normal(4, 5, 3), 1.0, 0)]
    guidances = [Guidance(((cond(0), 1.0),), cond(1, tokens=14), 7.0), Guidance(((cond(2), 1.0),), cond(3), 7.0)]
    calls = stack(evals, guidances, SCHEDULE)
    assert sorted(call.x.shape for call in calls) == [(1, 4, 3, 3), (1, 4, 3, 3), (2, 4, 5, 3)]
    assert sorted(place for call in calls for place in call.places) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    answers = denoise(Network(), evals, guidances, SCHEDULE, "epsilon")
    assert torch.allclose(answers[0].uncond, plain(cond(1, tokens=14), evals[0].x, 2.0), atol=1e-5)


def test_extra_channels_of_an_inpainting_model_stand_behind_the_latent():
    extra = normal(5, 3, 3, seed=4)
    with_concat = Cond(normal(7, 5), concat=extra)
    (call,) = stack([Eval(normal(4, 3, 3), 2.0, 0)], [Guidance(((with_concat, 1.0),), with_concat)], SCHEDULE)
    assert call.x.shape == (1, 9, 3, 3)
    assert torch.equal(call.x[0, 4:], extra)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("image_scale", [0.0, 1.0, 1.5])
def test_a_model_that_edits_is_guided_by_the_picture_too(scale, image_scale):
    """Brooks et al. 2022 (arXiv:2211.09800), eq. 3, written out."""
    words, no_words, picture, no_picture = normal(3, 5), normal(3, 5, seed=1), normal(4, 3, 3), torch.zeros(4, 3, 3)
    rows = [Cond(words, concat=picture), Cond(no_words, concat=picture), Cond(no_words, concat=no_picture)]
    guidance = Guidance([(rows[0], 1.0)], rows[1], scale, bare=rows[2], image_scale=image_scale)
    wish = Eval(normal(4, 3, 3, seed=2), 2.0, 0)

    def model(call):
        return call.x[:, 4:] * 0.5 + call.context.mean((1, 2))[:, None, None, None] + call.x[:, :4] ** 2

    (answer,) = denoise(model, [wish], [guidance], SCHEDULE, "epsilon")
    x = wish.x * c_in(2.0)
    full, image, none = (row.concat * 0.5 + row.context.mean() + x**2 for row in rows)
    expected = none + image_scale * (image - none) + scale * (full - image)
    assert torch.allclose(answer.denoised, to_denoised("epsilon", expected, wish.x, 2.0), atol=1e-12)
    needed = 3 if image_scale != 1 else 2 if scale != 1 else 1
    assert len(guidance.rows()) == needed


def test_the_network_works_in_the_dtype_of_its_context_and_the_answer_in_that_of_x():
    half = Cond(normal(7, 5).to(torch.bfloat16))
    seen = []

    def network(call):
        seen.append((call.x.dtype, call.timesteps.dtype))
        return call.x

    wish = Eval(normal(4, 3, 3).float(), 2.0, 0)
    (answer,) = denoise(network, [wish], [Guidance(((half, 1.0),), half, 3.0)], SCHEDULE, "epsilon")
    assert seen == [(torch.bfloat16, torch.float32)]
    assert answer.denoised.dtype == torch.float32


def test_the_model_is_called_where_its_conds_are_and_answers_come_back_to_the_latents():
    def model(x, timesteps, context, y):
        assert {part.device.type for part in (x, timesteps, context)} == {"meta"}
        assert x.dtype == torch.float16
        return x

    evals = [Eval(normal(4, 3, 3).float(), 2.0, 0)]
    cond = Cond(torch.zeros(7, 5, dtype=torch.float16, device="meta"))
    (call,) = stack(evals, [Guidance(((cond, 1.0),), cond)], SCHEDULE)
    output = torch.ones_like(model(call.x, call.timesteps, call.context, call.y)[0], device="cpu")
    (answer,) = combine([Eval(evals[0].x.to("meta"), 2.0, 0)], [Guidance(((cond, 1.0),), cond)], {(0, 0): output}, "v")
    assert (answer.denoised.device.type, answer.denoised.dtype) == ("meta", torch.float32)


def test_a_call_says_of_each_row_its_noise_level_and_its_solver_step():
    evals = [Eval(normal(4, 3, 3), 9.0, 2), Eval(normal(4, 3, 3), 0.5, 7)]
    guidances = [Guidance(((cond(0), 1.0),), cond(1), 7.0), Guidance(((cond(2), 1.0),), cond(3), 1.0)]
    (call,) = stack(evals, guidances, SCHEDULE)
    assert call.places == ((0, 0), (0, 1), (1, 0))
    assert call.sigmas == (9.0, 9.0, 0.5)
    assert call.steps == (2, 2, 7)
