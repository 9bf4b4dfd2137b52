"""A hires pass with a checkpoint of its own, from the request to the pixels."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.schema.errors import BadRequest, ModelError, NotFound
from webui.schema.events import Event, Progress, Stage
from webui.schema.memory import MemoryOptions
from webui.schema.requests import Img2Img, Request, Txt2Img

FIRST = {"prompt": "a red ball", "seed": 5, "width": 64, "height": 48, "sampler": "Euler a", "steps": 4}
HIRES = {**FIRST, "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Lanczos", "denoising_strength": 0.7}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, family) in enumerate({"tiny": "sd1", "other": "sd1", "large": "sdxl"}.items()):
        write_tiny_checkpoint(folder / "Stable-diffusion" / f"{name}.safetensors", family, seed=seed)
    (folder / "Stable-diffusion" / "broken.safetensors").write_bytes(b"no model")
    return Pipeline.load("tiny", models_dir=folder, device="cpu", memory=MemoryOptions(cpu_gb=1e-6))  # one at a time


def pixels(pipe: Pipeline, request: Request) -> list[np.ndarray]:
    return [np.asarray(made.image) for made in pipe.generate(request).images]


def by_hand(pipe: Pipeline, second: str, **fields: Any) -> np.ndarray:
    """The first pass alone, and what the other checkpoint makes of its picture."""
    picture = Image.fromarray(pixels(pipe, Txt2Img(**{**FIRST, **fields}))[0])
    other = Pipeline.load(second, models_dir=pipe._engine.models.catalogue.models_dir, device="cpu")
    redrawn = {**FIRST, **fields, "width": 96, "height": 72, "denoising_strength": 0.7}
    return pixels(other, Img2Img(init_image=other.add_image(picture), **redrawn))[0]


@pytest.mark.parametrize("second", ["other", "large"])
def test_the_second_checkpoint_draws_what_it_draws_from_the_first_ones_picture(pipe: Pipeline, second: str) -> None:
    (drawn,) = pixels(pipe, Txt2Img(**HIRES, hr_model=second))
    assert np.array_equal(drawn, by_hand(pipe, second))


def test_the_next_batch_begins_with_the_first_checkpoint(pipe: Pipeline) -> None:
    both = pixels(pipe, Txt2Img(**HIRES, hr_model="other", n_iter=2))
    assert np.array_equal(both[1], by_hand(pipe, "other", seed=6))


def test_the_passes_of_a_batch_change_the_model_together(pipe: Pipeline) -> None:
    request = Txt2Img(**{**HIRES, "sampler": "DPM adaptive"}, hr_model="other", batch_size=2)
    stages: list[str] = []
    pipe.generate(request, lambda event: stages.append(event.message) if isinstance(event, Stage) else None)
    assert [stage for stage in stages if stage.startswith("loading")][-1:] == ["loading other"]
    assert stages.count("loading other") == 1


def test_a_latent_goes_on_where_both_read_it_alike(pipe: Pipeline) -> None:
    fields = {**HIRES, "hr_upscaler": "Latent"}
    own, other = (pixels(pipe, Txt2Img(**fields, hr_model=name))[0] for name in ("", "other"))
    assert own.shape == other.shape == (72, 96, 3)
    assert not np.array_equal(own, other)


def test_a_latent_upscaler_to_other_latents_is_refused_before_anything_is_drawn(pipe: Pipeline) -> None:
    events: list[Event] = []
    with pytest.raises(
        BadRequest, match=r"'Latent' hands latents on, but those of tiny mean nothing to large.*Lanczos"
    ):
        pipe.generate(Txt2Img(**{**HIRES, "hr_upscaler": "Latent"}, hr_model="large"), events.append)
    assert events == []


def test_a_second_checkpoint_that_cannot_be_used_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        pipe.generate(Txt2Img(**HIRES, hr_model="nowhere"))
    with pytest.raises(ModelError, match="broken"):
        pipe.generate(Txt2Img(**HIRES, hr_model="broken"))
    assert pipe.generate(Txt2Img(**FIRST, hr_model="nowhere")).images  # without a hires pass it has no say


def test_the_first_checkpoint_named_again_is_a_plain_hires_pass(pipe: Pipeline) -> None:
    named, plain = (pipe.generate(Txt2Img(**HIRES, hr_model=name)).images[0] for name in ("tiny", ""))
    assert (named.image.tobytes(), named.infotext) == (plain.image.tobytes(), plain.infotext)
    assert "Hires checkpoint" not in plain.infotext


def test_the_text_names_the_second_checkpoint(pipe: Pipeline) -> None:
    text = pipe.generate(Txt2Img(**HIRES, hr_model="other.safetensors")).images[0].infotext
    assert "Hires upscaler: Lanczos, Hires checkpoint: other, Version" in text
    assert "Model: tiny" in text


def test_the_first_checkpoint_is_gone_while_the_second_draws(pipe: Pipeline) -> None:
    models, seen = pipe._engine.models, list[bool]()
    first: list[weakref.ref[Any]] = []

    def look(event: Event) -> None:
        if isinstance(event, Progress):
            first or first.append(weakref.ref(models.modules["unet"]))
            seen.append(first[0]() is None)

    pipe.generate(Txt2Img(**HIRES, hr_model="other"), look)
    assert seen[0] is False
    assert seen[-1] is True


def test_a_job_stopped_in_its_first_pass_waits_for_no_other_model(pipe: Pipeline) -> None:
    stages: list[str] = []

    def stop(event: Event) -> None:
        if isinstance(event, Progress):
            pipe._engine.cancel("local", "interrupt")
        elif isinstance(event, Stage):
            stages.append(event.message)

    made = pipe.generate(Txt2Img(**HIRES, hr_model="other"), stop)
    assert made.images[0].image.size == (96, 72)
    assert "loading other" not in stages
