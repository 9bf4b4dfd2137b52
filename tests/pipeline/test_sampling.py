"""One sampling pass, driven by hand: the model says that every clean latent is `TARGET`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer
from webui.nn.config import SD15
from webui.pipeline.sampling import Keep, Redo, from_latent, from_noise
from webui.pipeline.texts import PassTexts
from webui.pipeline.work import Denoise, ModelFacts, NothingYet, StopSampling, Texts
from webui.schema.names import SAMPLER_NAMES
from webui.schema.requests import Txt2Img

MODEL = ModelFacts(SD15, NoiseSchedule(SD15.schedule))
TEXTS = PassTexts((Texts(((Cond(torch.zeros(1, 1)), 1.0),), Cond(torch.zeros(1, 1))),))
SHAPE = (4, 6, 5)
TARGET = torch.full(SHAPE, 0.5)


def request(**fields: Any) -> Txt2Img:
    return Txt2Img(**{"sampler": "Euler", "steps": 8, **fields})


def finish(run: Generator[Denoise, Any, Tensor]) -> tuple[Tensor, list[Denoise]]:
    """Answer every evaluation with TARGET; the final latent and all that was asked."""
    asked: list[Denoise] = []
    try:
        wish = next(run)
        while True:
            asked.append(wish)
            wish = run.send((wish.eval.x, Answer(TARGET.to(wish.eval.x), TARGET.to(wish.eval.x))))
    except StopIteration as end:
        return end.value, asked


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_ends_on_what_the_model_says_and_its_progress_ends_at_one(sampler: str) -> None:
    latent, asked = finish(from_noise(request(sampler=sampler), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1))
    # samplers that end on the smallest sigma above 0 keep that much noise
    assert (latent - TARGET).abs().max() < 0.15
    fractions = [item.fraction for item in asked]
    assert fractions == sorted(fractions)
    # an adaptive sampler takes a model this simple in one leap
    assert fractions[-1] > (0.5 if SAMPLERS[sampler].adaptive else 0.85)


@pytest.mark.parametrize(("strength", "executed"), [(0.01, 1), (0.5, 5), (0.75, 7), (1.0, 8)])
def test_a_strength_runs_the_last_steps_of_the_schedule(strength: float, executed: int) -> None:
    _, asked = finish(from_latent(request(), MODEL, NoiseSource(1), TEXTS, torch.zeros(SHAPE), Redo(strength, 8)))
    assert len(asked) == executed
    assert {item.steps for item in asked} == {executed}


def test_strength_zero_gives_the_latent_back_without_a_step() -> None:
    init = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    latent, asked = finish(from_latent(request(), MODEL, NoiseSource(1), TEXTS, init, Redo(0.0, 8)))
    assert asked == []
    assert torch.equal(latent, init)


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ SDE", "DDIM CFG++"])
def test_the_kept_part_of_a_latent_comes_back_exactly_and_the_rest_is_drawn(sampler: str) -> None:
    init = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    repaint = torch.zeros(1, 6, 5)
    repaint[:, :3] = 1
    redo = Redo(0.8, 8, Keep(init, repaint))
    latent, _ = finish(from_latent(request(sampler=sampler), MODEL, NoiseSource(1), TEXTS, init, redo))
    assert torch.equal(latent[:, 3:], init[:, 3:])
    assert (latent[:, :3] - 0.5).abs().max() < 0.15


def test_a_stopped_pass_gives_its_latest_prediction() -> None:
    run = from_noise(request(), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1)
    wish = next(run)
    run.send((wish.eval.x, Answer(TARGET)))
    with pytest.raises(StopIteration) as end:
        run.throw(StopSampling())
    assert torch.equal(end.value.value, TARGET)


def test_a_pass_from_noise_stopped_before_its_first_answer_has_nothing_yet() -> None:
    run = from_noise(request(), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1)
    next(run)
    with pytest.raises(NothingYet):
        run.throw(StopSampling())


def test_a_pass_from_a_latent_stopped_before_its_first_answer_gives_the_latent_back() -> None:
    run = from_latent(request(), MODEL, NoiseSource(1), TEXTS, TARGET, Redo(0.5, 8))
    next(run)
    with pytest.raises(StopIteration) as end:
        run.throw(StopSampling())
    assert torch.equal(end.value.value, TARGET)


def test_guidance_of_one_needs_no_uncond_row_unless_the_sampler_does() -> None:
    for sampler, rows in [("Euler", 1), ("Euler CFG++", 2)]:
        run = from_noise(request(sampler=sampler, cfg_scale=1.0), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1)
        assert len(next(run).guidance.rows()) == rows


def test_options_reach_the_samplers_that_take_them() -> None:
    def final(**options: Any) -> Tensor:
        return finish(from_noise(request(**options), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1))[0]

    plain = final(sampler="DDIM", steps=3)
    assert torch.equal(final(sampler="DDIM", steps=3, s_churn=5.0), plain)
    asked = [
        finish(from_noise(request(sampler="Euler a", eta=eta), MODEL, NoiseSource(1), TEXTS, SHAPE, parts=1))[1]
        for eta in (0.0, 1.0)
    ]
    assert not torch.equal(asked[0][4].eval.x, asked[1][4].eval.x)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE", "DDIM", "UniPC"])
def test_latents_are_sampled_on_the_device_of_the_model(sampler: str) -> None:
    model = ModelFacts(MODEL.config, MODEL.schedule, torch.device("meta"))
    latent, asked = finish(from_noise(request(sampler=sampler), model, NoiseSource(1), TEXTS, SHAPE, parts=1))
    assert {item.eval.x.device.type for item in asked} == {"meta"}
    assert (latent.device.type, latent.dtype) == ("meta", torch.float32)
