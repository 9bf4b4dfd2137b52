"""SDXL's refiner, by itself and after SDXL, against diffusers' pipelines on the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from torch import Tensor

from tests.nn.weights import relative_error
from tests.parity.conftest import Cases
from tests.parity.pipelines import (
    FIELDS,
    REF,
    STRENGTH,
    THEIR_STRENGTH,
    Case,
    Execute,
    our_latents,
    parts,
    picture,
    source,
    their_init,
    their_latents,
    their_scheduler,
)
from tests.parity.schedulers import SAMPLERS
from webui.pipeline.img2img import img2img
from webui.pipeline.tensors import image_to_tensor
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import Denoise, EncodeText, ModelFacts, UseModel
from webui.schema.requests import Img2Img, Request, Txt2Img

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def refiner(cases: Cases) -> Case:
    return cases("sdxl-refiner")


@pytest.fixture(scope="module")
def base(cases: Cases) -> Case:
    return cases("sdxl")


def changing(base: Case, refiner: Case) -> dict[type, Execute]:
    """The work of a pass whose model is changed on the way."""
    present = [base.executor]

    def change(items: Sequence[UseModel]) -> list[ModelFacts]:
        present.append(refiner.executor)
        return [refiner.facts for _ in items]

    def forwarded(kind: type) -> Execute:
        return lambda items: present[-1].table[kind](items)

    return {UseModel: change, EncodeText: forwarded(EncodeText), Denoise: forwarded(Denoise)}


def refining(refiner: Case, request: Request, **given: Any) -> Tensor:
    """diffusers' pipeline of the refiner, with the settings of its `model_index.json`."""
    made = StableDiffusionXLImg2ImgPipeline(
        **{"text_encoder": None, "tokenizer": None, **parts(refiner)}, scheduler=their_scheduler(request, refiner),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip
    return their_latents(made, request, **given)


@pytest.mark.parametrize("negative", ["blue cat", ""])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_refiner_redraws_a_picture_as_diffusers_does(refiner: Case, sampler: str, negative: str) -> None:
    fields = {**FIELDS, "negative_prompt": negative, "sampler": sampler, "scheduler": SAMPLERS[sampler]}
    request = Img2Img(**fields, denoising_strength=STRENGTH, init_image=REF)
    (ours,) = our_latents(img2img(request, refiner.facts, source(), picture()), refiner.executor)
    expected = refining(
        refiner, request, image=their_init(refiner, image_to_tensor(picture())), strength=THEIR_STRENGTH
    )
    assert relative_error(ours, expected) < TOLERANCE
    assert expected.std() > 0.1


@pytest.mark.parametrize("switch", [0.8, 0.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_refiner_takes_over_where_it_does_in_diffusers(
    base: Case, refiner: Case, sampler: str, switch: float
) -> None:
    fields = {**FIELDS, "sampler": sampler, "scheduler": SAMPLERS[sampler]}
    request = Txt2Img(**fields, refiner="refiner", refiner_switch_at=switch)
    (ours,) = our_latents(txt2img(request, base.facts, source()), base.executor, changing(base, refiner))
    begun = StableDiffusionXLPipeline(**parts(base), scheduler=their_scheduler(request, base), add_watermarker=False)
    noisy = their_latents(begun, request, width=request.width, height=request.height, denoising_end=switch)
    expected = refining(refiner, request, image=noisy, denoising_start=switch)
    assert relative_error(ours, expected) < TOLERANCE
    (alone,) = our_latents(txt2img(Txt2Img(**fields), base.facts, source()), base.executor)
    assert relative_error(ours, alone) > 10 * TOLERANCE
