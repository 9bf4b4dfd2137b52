"""Prompts that change, combine and weigh, drawn by the engine on a small random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.ext.folders import write_extension
from tests.support import write_tiny_checkpoint
from webui.checkpoints.load import load_checkpoint
from webui.diffusion.denoiser import Guidance, denoise
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer
from webui.engine.api import Pipeline
from webui.ext.discover import HOME
from webui.ext.state import ExtState
from webui.pipeline.sampling import full_sigmas
from webui.pipeline.work import ModelFacts
from webui.prompt.encode import encode_prompt
from webui.schema.requests import Txt2Img

SIZE = {"width": 64, "height": 48, "steps": 4, "sampler": "Euler", "seed": 5}
FOLLOWER = """
from dataclasses import replace

seen = []

def open_pass(p):
    p.guidance = replace(p.guidance, cfg_scale=2.0)
    yield

def before_step(s):
    seen.append((s.guidance.cfg_scale, float(s.guidance.conds[0][0].context.sum())))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    write_tiny_checkpoint(folder / "models" / "Stable-diffusion" / "tiny.safetensors", seed=1)
    return folder


@pytest.fixture(scope="module")
def pipe(root: Path) -> Pipeline:
    return Pipeline.load("tiny", models_dir=root / "models", device="cpu")


def drawn(pipe: Pipeline, prompt: str, **fields: Any) -> np.ndarray:
    return np.asarray(pipe.generate(Txt2Img(**{**SIZE, "prompt": prompt, **fields})).images[0].image)


@pytest.mark.parametrize(
    "same",
    ["[a red ball::9]", "[a red ball:a cat:1.0]", "[a red ball|a red ball]", "a red ball # cat",
     "[cat:a red ball:0]"],
)  # fmt: skip
def test_words_that_never_change_give_the_picture_of_the_plain_prompt(pipe: Pipeline, same: str) -> None:
    assert np.array_equal(drawn(pipe, same), drawn(pipe, "a red ball"))


def test_words_change_the_picture_from_their_step_on(pipe: Pipeline) -> None:
    first, second = drawn(pipe, "a red ball"), drawn(pipe, "a cat")
    between = drawn(pipe, "[a red ball:a cat:0.5]")
    assert not np.array_equal(between, first)
    assert not np.array_equal(between, second)
    assert np.array_equal(between, drawn(pipe, "[a red ball:a cat:2]"))
    assert not np.array_equal(between, drawn(pipe, "[a red ball:a cat:3]"))
    assert not np.array_equal(drawn(pipe, "x", negative_prompt="[cat:2]"), drawn(pipe, "x"))


def test_the_parts_of_and_pull_as_their_weighted_sum(pipe: Pipeline, root: Path) -> None:
    """Against the sum written out: uncond + 3 * (1 * (a - uncond) + 0.5 * (b - uncond)) at every step."""
    request = Txt2Img(**{**SIZE, "cfg_scale": 3, "steps": 3})
    model = load_checkpoint(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    facts = ModelFacts(model.config, NoiseSchedule(model.config.schedule))
    a, b, none = (encode_prompt(model, text, 1, 64, 48) for text in ("a red ball", "a cat", ""))
    sigmas = full_sigmas(request, facts, 3)
    x = NoiseSource(5).initial((4, 6, 8)) * sigmas[0]
    walk = SAMPLERS["Euler"].run(x, sigmas.tolist(), NoiseSource(5).draws(x))

    def unet(call: Any) -> torch.Tensor:
        output: torch.Tensor = model.unet(call.x, call.timesteps, call.context, call.y)
        return output

    with torch.inference_mode():
        point = next(walk)
        try:
            while True:
                outputs = [
                    denoise(unet, [point], [Guidance(((cond, 1.0),), none)], facts.schedule, "epsilon")[0].denoised
                    for cond in (a, b, none)
                ]
                guided = outputs[2] + 3 * ((outputs[0] - outputs[2]) + 0.5 * (outputs[1] - outputs[2]))
                point = walk.send((point.x, Answer(guided)))
        except StopIteration as end:
            latent = end.value
        image = (model.vae.decode(model.vae.from_latent(latent[None]))[0] / 2 + 0.5).clamp(0, 1)
    expected = (image.permute(1, 2, 0).numpy() * 255).round()
    found = drawn(pipe, "a red ball AND a cat:0.5", cfg_scale=3, steps=3)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert not np.array_equal(found, drawn(pipe, "a red ball", cfg_scale=3, steps=3))


def test_pictures_of_a_batch_with_words_that_change_agree_with_those_alone(pipe: Pipeline) -> None:
    prompt = "[a red ball|a cat] AND [b:0.5]:0.3"
    images = pipe.generate(Txt2Img(**{**SIZE, "prompt": prompt, "batch_size": 2})).images
    for index, image in enumerate(images):
        alone = drawn(pipe, prompt, seed=5 + index)
        assert np.abs(np.asarray(image.image).astype(int) - alone).max() <= 1


def test_parts_of_different_lengths_are_drawn(pipe: Pipeline) -> None:
    assert drawn(pipe, "cat " * 100 + "AND a BREAK b BREAK c", negative_prompt="[" + "dog " * 80 + ":2]").std() > 0


def test_the_emphasis_modes_differ(pipe: Pipeline) -> None:
    pictures = [drawn(pipe, "a (red:1.5) ball", emphasis=mode) for mode in ("Original", "No norm", "Ignore", "None")]
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert np.array_equal(pictures[2], drawn(pipe, "a red ball"))


def test_traps_are_told_with_the_picture(pipe: Pipeline) -> None:
    made = pipe.generate(Txt2Img(**{**SIZE, "prompt": "[blurry:1.3] at 12:30"}))
    assert any("never in this picture" in note for note in made.notes)
    assert any("without AND" in note for note in made.notes)


def test_an_extension_sees_the_words_of_each_step_and_what_it_changed_holds(root: Path) -> None:
    write_extension(root / "extensions", "follower", FOLLOWER, head='hooks = ["open_pass", "before_step"]')
    (root / "data").mkdir()
    ExtState(root / "data").enable("follower", allow=True)
    folders = (HOME, root / "extensions")
    pipe = Pipeline.load(
        "tiny", models_dir=root / "models", device="cpu", extensions_dirs=folders, data_dir=root / "data"
    )
    plain = drawn(pipe, "a red ball", cfg_scale=7)
    changing = drawn(pipe, "[a red ball:a cat:2]", cfg_scale=7)
    assert not np.array_equal(plain, changing)
    assert np.array_equal(drawn(pipe, "[a red ball::4]"), plain)
    without = Pipeline.load("tiny", models_dir=root / "models", device="cpu")
    assert np.array_equal(drawn(without, "[a red ball:a cat:2]", cfg_scale=2), changing)
