"""SDXL's refiner, by itself and after SDXL, against diffusers' pipelines on the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from tests.nn.weights import relative_error
from tests.parity.pipelines import (
    SAMPLERS,
    Case,
    Execute,
    case_of,
    generator,
    our_latents,
    parts,
    quiet,
    scheduler_of,
    source,
    their_init,
)
from tests.parity.test_pipelines import FIELDS, STRENGTH, TOLERANCE, picture
from webui.pipeline.img2img import img2img
from webui.pipeline.tensors import image_to_tensor
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import Denoise, EncodeText, ModelFacts, UseModel
from webui.schema.requests import ImageRef, Img2Img, Request, Txt2Img


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of("sdxl-refiner", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of("sdxl", tmp_path_factory.mktemp("models"))


def changing(base: Case, refiner: Case) -> dict[type, Execute]:
    """The work of a pass whose model is changed on the way."""
    present = [base.executor]

    def change(items: Sequence[UseModel]) -> list[ModelFacts]:
        present.append(refiner.executor)
        return [refiner.facts for _ in items]

    def forwarded(kind: type) -> Execute:
        return lambda items: present[-1].table[kind](items)

    return {UseModel: change, EncodeText: forwarded(EncodeText), Denoise: forwarded(Denoise)}


def refining(refiner: Case, request: Request, **given: Any) -> Any:
    """diffusers' pipeline of the refiner, with the settings of its `model_index.json`."""
    made = StableDiffusionXLImg2ImgPipeline(
        **{"text_encoder": None, "tokenizer": None, **parts(refiner)}, scheduler=scheduler_of(request, refiner),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    )  # fmt: skip
    return quiet(made)(
        prompt=request.prompt, negative_prompt=request.negative_prompt, num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale, generator=generator(), output_type="latent", **given,
    ).images  # fmt: skip


@pytest.mark.parametrize("negative", ["blue cat", ""])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_refiner_redraws_a_picture_as_diffusers_does(refiner: Case, sampler: str, negative: str) -> None:
    fields = {**FIELDS, "negative_prompt": negative, "sampler": sampler, "scheduler": SAMPLERS[sampler]}
    request = Img2Img(**fields, denoising_strength=STRENGTH, init_image=ImageRef(sha256="0" * 64))
    (ours,) = our_latents(img2img(request, refiner.facts, source(), picture()), refiner.executor)
    expected = refining(refiner, request, image=their_init(refiner, image_to_tensor(picture())), strength=0.6)
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
    begun = StableDiffusionXLPipeline(**parts(base), scheduler=scheduler_of(request, base), add_watermarker=False)
    noisy = quiet(begun)(
        prompt=request.prompt, negative_prompt=request.negative_prompt, num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale, generator=generator(), output_type="latent", width=request.width,
        height=request.height, denoising_end=switch,
    ).images  # fmt: skip
    expected = refining(refiner, request, image=noisy, denoising_start=switch)
    assert relative_error(ours, expected) < TOLERANCE
    (alone,) = our_latents(txt2img(Txt2Img(**fields), base.facts, source()), base.executor)
    assert relative_error(ours, alone) > 10 * TOLERANCE
