"""A refiner, from the request to the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.test_networks import write_lora
from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.schema.errors import BadRequest, ModelError, NotFound
from webui.schema.events import Event, Progress, Stage
from webui.schema.memory import MemoryOptions
from webui.schema.names import SAMPLER_NAMES
from webui.schema.requests import Img2Img, Inpaint, Request, Txt2Img

FIRST: dict[str, Any] = {
    "prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler a", "steps": 8,
}  # fmt: skip
REFINED = {**FIRST, "refiner": "other", "refiner_switch_at": 0.5}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, family) in enumerate({"tiny": "sd1", "other": "sd1", "v": "sd2", "large": "sdxl"}.items()):
        write_tiny_checkpoint(folder / "Stable-diffusion" / f"{name}.safetensors", family, seed=seed)
    write_tiny_checkpoint(folder / "Stable-diffusion" / "twin.safetensors", "sd1", seed=0)
    (folder / "Stable-diffusion" / "broken.safetensors").write_bytes(b"no model")
    return Pipeline.load("tiny", models_dir=folder, device="cpu", memory=MemoryOptions(cpu_gb=1e-6))  # one at a time


def pixels(pipe: Pipeline, request: Request) -> list[np.ndarray]:
    return [np.asarray(made.image) for made in pipe.generate(request).images]


def told(pipe: Pipeline, request: Request, kind: type) -> list[Any]:
    events: list[Event] = []
    pipe.generate(request, events.append)
    return [event for event in events if isinstance(event, kind)]


def loads(pipe: Pipeline, request: Request) -> list[str]:
    stages = [event.message for event in told(pipe, request, Stage)]
    return [stage.removeprefix("loading ") for stage in stages if stage.startswith("loading")]


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_hands_over_and_counts_its_steps_on(pipe: Pipeline, sampler: str) -> None:
    fields = {**REFINED, "sampler": sampler, "steps": 4}
    events: list[Event] = []
    (made,) = pipe.generate(Txt2Img(**fields), events.append).images
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1, abs=0.3)
    plain = pipe.generate(Txt2Img(**{**fields, "refiner": ""})).images[0]
    assert made.image.tobytes() != plain.image.tobytes()


def test_the_same_weights_as_a_refiner_change_nothing_for_a_sampler_without_memory(pipe: Pipeline) -> None:
    for sampler in ("Euler", "Euler a", "DPM++ SDE", "DDIM", "DPM2 a"):
        fields = {**REFINED, "sampler": sampler}
        plain, twin = (pixels(pipe, Txt2Img(**{**fields, "refiner": name})) for name in ("", "twin"))
        assert np.array_equal(plain, twin), sampler


def test_the_words_of_each_step_go_on_behind_the_switch(pipe: Pipeline) -> None:
    fields = {**REFINED, "refiner": "twin", "sampler": "Euler"}
    for prompt in ("[red:blue:6] ball", "[red|blue] ball", "[red:blue:2] ball"):
        plain, twin = (pixels(pipe, Txt2Img(**{**fields, "prompt": prompt, "refiner": name})) for name in ("", "twin"))
        assert np.array_equal(plain, twin), prompt


def test_a_refiner_may_be_of_another_family_with_the_same_latents(pipe: Pipeline) -> None:
    assert not np.array_equal(pixels(pipe, Txt2Img(**{**REFINED, "refiner": "v"})), pixels(pipe, Txt2Img(**FIRST)))


def test_networks_go_with_a_refiner_of_their_family_and_stay_behind_before_another(pipe: Pipeline) -> None:
    folder = pipe._engine.models.catalogue.models_dir
    write_lora(folder / "Lora" / "bent.safetensors", folder / "Stable-diffusion" / "tiny.safetensors", seed=0)
    fields = {**REFINED, "sampler": "Euler", "prompt": "a red ball <lora:bent:0.8>"}
    bent, twin = (pixels(pipe, Txt2Img(**{**fields, "refiner": name})) for name in ("", "twin"))
    assert np.array_equal(bent, twin)
    other, without = (
        pixels(pipe, Txt2Img(**{**fields, "refiner": "v", "prompt": prompt}))
        for prompt in (fields["prompt"], "a red ball")
    )
    assert not np.array_equal(other, without)


def test_a_switch_at_the_end_needs_no_refiner(pipe: Pipeline) -> None:
    request = Txt2Img(**{**REFINED, "refiner_switch_at": 1.0})
    assert np.array_equal(pixels(pipe, request), pixels(pipe, Txt2Img(**FIRST)))
    assert "other" not in loads(pipe, request)


def test_a_picture_that_is_hardly_changed_is_drawn_by_the_refiner_alone(pipe: Pipeline) -> None:
    init = pipe.add_image(pipe.generate(Txt2Img(**FIRST)).images[0].image)
    fields = {**FIRST, "init_image": init, "denoising_strength": 0.2, "sampler": "Euler"}
    refined = pixels(pipe, Img2Img(**fields, refiner="twin", refiner_switch_at=0.5))
    assert np.array_equal(refined, pixels(pipe, Img2Img(**fields)))


def test_what_is_not_under_the_mask_stays(pipe: Pipeline) -> None:
    first = pipe.generate(Txt2Img(**FIRST)).images[0].image
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 32:] = 255
    refs = {"init_image": pipe.add_image(first), "mask": pipe.add_image(Image.fromarray(mask))}
    (drawn,) = pixels(pipe, Inpaint(**REFINED, **refs, mask_blur=0, denoising_strength=0.9))
    (alone,) = pixels(pipe, Inpaint(**FIRST, **refs, mask_blur=0, denoising_strength=0.9))
    assert np.array_equal(drawn[:, :32], np.asarray(first)[:, :32])
    assert not np.array_equal(drawn, alone)


def test_the_last_pass_alone_is_refined_and_batches_begin_with_the_first_checkpoint(pipe: Pipeline) -> None:
    hires = {**REFINED, "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "n_iter": 2, "batch_size": 2}
    pixels(pipe, Txt2Img(**FIRST))
    assert loads(pipe, Txt2Img(**hires)) == ["other", "tiny", "other"]
    assert loads(pipe, Txt2Img(**hires, hr_model="v")) == ["tiny", "v", "other", "tiny", "v", "other"]
    whole = {**hires, "denoising_strength": 0}
    assert loads(pipe, Txt2Img(**whole)) == ["tiny", "other", "tiny", "other"]


def test_a_picture_of_a_batch_is_refined_as_alone(pipe: Pipeline) -> None:
    both = pixels(pipe, Txt2Img(**{**REFINED, "sampler": "DPM adaptive"}, batch_size=2))
    assert np.array_equal(both[1], pixels(pipe, Txt2Img(**{**REFINED, "sampler": "DPM adaptive", "seed": 6}))[0])


def test_a_stopped_job_waits_for_no_refiner(pipe: Pipeline) -> None:
    stages: list[str] = []

    def stop(event: Event) -> None:
        if isinstance(event, Progress):
            pipe._engine.cancel("local", "interrupt")
        elif isinstance(event, Stage):
            stages.append(event.message)

    assert pipe.generate(Txt2Img(**REFINED), stop).images
    assert "loading other" not in stages


def test_a_refiner_that_cannot_go_on_is_refused_before_anything_is_drawn(pipe: Pipeline) -> None:
    refused = {"large": (BadRequest, "mean nothing to large"), "nowhere": (NotFound, ""), "broken": (ModelError, "")}
    for name, (kind, words) in refused.items():
        events: list[Event] = []
        with pytest.raises(kind, match=words or name):
            pipe.generate(Txt2Img(**{**FIRST, "refiner": name}), events.append)
        assert events == []
    twice = {"enable_hr": True, "hr_upscaler": "Lanczos", "hr_model": "large"}
    with pytest.raises(BadRequest, match="mean nothing to other"):
        pipe.generate(Txt2Img(**REFINED, **twice))


def test_the_checkpoint_itself_is_no_refiner(pipe: Pipeline) -> None:
    named, plain = (pipe.generate(Txt2Img(**{**FIRST, "refiner": name})).images[0] for name in ("tiny.safetensors", ""))
    assert (named.image.tobytes(), named.infotext) == (plain.image.tobytes(), plain.infotext)
    assert "Refiner" not in plain.infotext


def test_the_text_names_the_refiner_and_its_switch(pipe: Pipeline) -> None:
    text = pipe.generate(Txt2Img(**{**REFINED, "refiner_switch_at": 0.8})).images[0].infotext
    assert ", Refiner: other, Refiner switch at: 0.8, Version" in text
